import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

import { CloseCode, mayReconnect, retryMs } from "../src/wire/close-codes.js";
import { REPOSITORY } from "./golden.js";

test("the client comes back after the close codes that the protocol says, and after no others of it", () => {
  const protocol = readFileSync(join(REPOSITORY, "docs", "PROTOCOL.md"), "utf8");
  const section = protocol.split(/^## /m).find((text) => text.startsWith("Close codes")) ?? "";
  const [back = "", gone = ""] = section.split(/^Do not reconnect/m);
  const codes = (text: string): number[] =>
    [...text.matchAll(/^\| ([0-9, ]+) \|/gm)].flatMap(([, cell = ""]) => cell.split(",").map(Number));
  assert.notDeepEqual([codes(back), codes(gone)], [[], []]);
  const known: readonly number[] = Object.values(CloseCode);
  for (const code of codes(back)) assert.deepEqual([true, true], [mayReconnect(code), known.includes(code)], `${code}`);
  for (const code of codes(gone))
    assert.deepEqual([false, true], [mayReconnect(code), known.includes(code)], `${code}`);
});

test("a wait is read from the reason that the bridge gives, and from nothing else", () => {
  const table: [number, string][] = [
    [600, "more than 100 messages a minute: retry_ms=600"],
    [0, "more than 100 messages a minute"],
    [0, "retry_ms=soon"],
    [0, "retry_ms=123456789"],
    [0, "no_retry_ms=5"],
    [0, ""],
  ];
  for (const [ms, reason] of table) assert.equal(retryMs(reason), ms, reason);
});
