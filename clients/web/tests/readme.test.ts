import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

const PACKAGE = process.cwd();

test("the README's examples compile in a browser's project, against the package as it is", () => {
  const readme = readFileSync(join(PACKAGE, "README.md"), "utf8");
  const examples = [...readme.matchAll(/^```ts\n(.*?)^```/gms)].map(([, example = ""]) => example);
  assert.notEqual(examples.length, 0, "the README has no example");
  const build = join(PACKAGE, "build");
  mkdirSync(build, { recursive: true });
  const folder = mkdtempSync(join(build, "readme-"));
  try {
    for (const [index, example] of examples.entries()) writeFileSync(join(folder, `example${index}.ts`), example);
    // A browser's own WebSocket is one that the client takes.
    const socket =
      'import type { SocketConstructor } from "@evs/client";\nexport const known: SocketConstructor = WebSocket;\n';
    writeFileSync(join(folder, "socket.ts"), socket);
    writeFileSync(join(folder, "tsconfig.json"), JSON.stringify(project()));
    const compiler = join(PACKAGE, "node_modules", "typescript", "bin", "tsc");
    const compiled = spawnSync(process.execPath, [compiler, "-p", folder], { encoding: "utf8" });
    assert.equal(compiled.stdout + compiled.stderr, "");
    assert.equal(compiled.status, 0);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

function project(): object {
  return {
    extends: join(PACKAGE, "tsconfig.base.json"),
    compilerOptions: {
      noEmit: true,
      lib: ["ES2022", "DOM"],
      paths: { "@evs/client": [join(PACKAGE, "src", "index.ts")] },
    },
    include: ["*.ts"],
  };
}
