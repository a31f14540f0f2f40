import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join, relative } from "node:path";
import { test } from "node:test";

const SOURCE = join(process.cwd(), "src");

/** Which rooms a room may look into; the dashboard sees the whole package, and nothing sees the dashboard. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  wire: ["wire"],
  model: ["model", "wire"],
  client: ["client", "model", "wire"],
  "": ["client", "model", "wire", ""],
};

function sources(): readonly string[] {
  return readdirSync(SOURCE, { recursive: true, encoding: "utf8" }).filter((path) => path.endsWith(".ts"));
}

function roomOf(path: string): string {
  const [first = "", ...rest] = path.split(/[\\/]/);
  return rest.length === 0 ? "" : first;
}

for (const path of sources()) {
  const text = readFileSync(join(SOURCE, path), "utf8");

  test(`${path} looks only into the rooms below it`, () => {
    const allowed = MAY_IMPORT[roomOf(path)] ?? [];
    for (const [, imported = ""] of text.matchAll(/from "([^"]+)"/g)) {
      assert.match(imported, /^\.{1,2}\/.*\.js$/, "the package has no dependency");
      const target = relative(SOURCE, join(SOURCE, path, "..", imported));
      assert.ok(allowed.includes(roomOf(target)) || target === "format.js", `${path} imports ${imported}`);
    }
  });

  test(`${path} says what lives in it, is no longer than a reader can hold, and trusts no value blindly`, () => {
    assert.match(text, /^\/\*\*/);
    assert.ok(text.split("\n").length <= 400);
    assert.doesNotMatch(text, /\bany\b(?=[;,)>\]])|@ts-|console\.|parseFloat/);
    for (const line of text.split("\n")) assert.ok(line.length <= 120, line);
  });
}

test("what decides touches neither clock nor chance nor network", () => {
  for (const path of sources().filter((path) => ["wire", "model"].includes(roomOf(path)))) {
    const text = readFileSync(join(SOURCE, path), "utf8");
    assert.doesNotMatch(text, /\bDate\b|Math\.random|setTimeout\(|new WebSocket|\bawait\b|Promise/, path);
  }
});
