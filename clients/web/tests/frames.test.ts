import assert from "node:assert/strict";
import { test } from "node:test";

import { idOf, parseFrame, type RequestId } from "../src/wire/frames.js";
import { parseResult, request, type MethodName, type Params } from "../src/wire/methods.js";
import { golden, goldenNames } from "./golden.js";
import { pick, seeded } from "./seeded.js";

/** What each golden answer answers; whatever is not here is a push or an error. */
const ANSWERS: Readonly<Record<string, MethodName>> = {
  authenticated: "auth.jwt",
  subscribed: "equity.subscribe",
  unsubscribed: "equity.unsubscribe",
  summary: "account.summary",
  positions: "positions.list",
  history: "equity.history",
  performance: "equity.performance",
  leaderboard: "leaderboard.list",
  cluster: "cluster.state",
  shard_killed: "demo.kill_shard",
  pong: "ping",
};

function answerMethod(name: string): MethodName | undefined {
  return ANSWERS[name] ?? ANSWERS[name.split("_")[0] ?? name];
}

const REQUESTS = goldenNames().filter((name) => name.startsWith("request_"));
const FRAMES = goldenNames().filter((name) => !name.startsWith("request_"));

for (const name of REQUESTS) {
  test(`the golden ${name} is what the client would send`, () => {
    const wire = JSON.parse(golden(name)) as { id: RequestId; method: MethodName; params: Params<MethodName> };
    assert.equal(request(wire.id, wire.method, wire.params), JSON.stringify(wire));
    assert.ok(Object.values(ANSWERS).includes(wire.method), `no golden answer is known for ${wire.method}`);
  });
}

for (const name of FRAMES) {
  test(`the golden frame ${name} parses to itself`, () => {
    const frame = parseFrame(golden(name));
    assert.ok(frame.ok, JSON.stringify(frame));
    const wire = JSON.parse(golden(name)) as Record<string, unknown>;
    switch (frame.value.stream) {
      case "answer": {
        const method = answerMethod(name);
        assert.ok(method !== undefined, `no method is known for the golden answer ${name}`);
        assert.equal(frame.value.id, wire["id"]);
        assert.deepEqual(parseResult(method, frame.value.result), { ok: true, value: wire["result"] });
        return;
      }
      case "error":
        assert.deepEqual({ id: frame.value.id, error: { code: frame.value.code, message: frame.value.message } }, wire);
        return;
      default:
        assert.deepEqual(frame.value, wire);
    }
  });
}

test("money at the edge of what JavaScript holds exactly comes through, and beyond it is refused", () => {
  const edge = golden("equity_change").replace('"total_equity": -25', `"total_equity": ${Number.MIN_SAFE_INTEGER}`);
  assert.equal(parseFrame(edge).ok, true);
  const beyond = golden("equity_change").replace('"total_equity": -25', '"total_equity": 9007199254740993');
  assert.deepEqual(parseFrame(beyond), {
    ok: false,
    path: "data.total_equity",
    problem: "expected a whole number from -9007199254740991 to 9007199254740991, got 9007199254740992",
  });
});

test("a wrong field is named, with what was expected and what came", () => {
  const table: [wrong: string, path: string, problem: string][] = [
    ["", "", "expected JSON"],
    ["[]", "", "expected an object, got an array"],
    ["null", "", "expected an object, got null"],
    ["{}", "id", "expected a whole number from -9007199254740991 to 9007199254740991, got nothing"],
    ['{"id":1}', "result", "expected a result or an error, got nothing"],
    ['{"id":1.5,"result":{}}', "id", "expected a whole number from -9007199254740991 to 9007199254740991, got 1.5"],
    ['{"id":1,"error":"no"}', "error", 'expected an object, got "no"'],
    ['{"id":1,"error":{"code":"INTERNAL"}}', "error.message", "expected a string, got nothing"],
    ['{"stream":"equity"}', "data", "expected an object, got nothing"],
    [
      '{"stream":"equity","data":{"account_id":"7"}}',
      "data.account_id",
      `expected a whole number from 1 to ${2 ** 53 - 1}, got "7"`,
    ],
    ['{"stream":"status","status":"stale"}', "since", `expected a whole number from 0 to ${2 ** 53 - 1}, got nothing`],
    [
      '{"stream":"status","status":"expiring","close_in_ms":-1}',
      "close_in_ms",
      "expected a whole number from 0 to 86400000, got -1",
    ],
  ];
  for (const [wrong, path, problem] of table) assert.deepEqual(parseFrame(wrong), { ok: false, path, problem }, wrong);
  assert.equal(parseFrame(new ArrayBuffer(8)).ok, false);
});

test("a field that an object only inherits is missing", () => {
  assert.equal(parseFrame('{"id":1,"__proto__":{"result":1}}').ok, false);
  assert.equal(parseResult("ping", Object.create({ pong: true })).ok, false);
});

test("streams and status values that nobody knows yet are ignored, not refused", () => {
  for (const frame of ['{"stream":"orders","data":{}}', '{"stream":"status","status":"waking"}', '{"stream":7}']) {
    assert.deepEqual(parseFrame(frame), { ok: true, value: { stream: "unknown" } });
  }
});

test("fields, flags and price sources that nobody knows yet come through", () => {
  const frame = parseFrame(golden("equity_snapshot").replace('"flags": []', '"flags": ["NEW"], "more": 1'));
  assert.ok(frame.ok && frame.value.stream === "equity");
  assert.deepEqual(frame.value.flags, ["NEW"]);
});

test("the id of an answer that is broken otherwise can be had", () => {
  assert.equal(idOf('{"id":4,"error":7}'), 4);
  for (const none of ["", "[]", '{"id":null}', '{"id":{}}', 7]) assert.equal(idOf(none), null);
});

test("history whose times do not ascend is refused at the point", () => {
  const point = { time: 60, open: 1, high: 1, low: 1, last: 1, realized_pnl: 0, net_flow: 0, final: true };
  const page = (times: number[]): object => ({
    resolution: "1m",
    points: times.map((time) => ({ ...point, time })),
    next: null,
  });
  assert.equal(parseResult("equity.history", page([60, 120])).ok, true);
  assert.deepEqual(parseResult("equity.history", page([60, 120, 120])), {
    ok: false,
    path: "result.points[2].time",
    problem: "expected a time after 120, got 120",
  });
});

test("a request leaves out what is undefined and spells what is not", () => {
  assert.equal(
    request(3, "equity.history", { range: "1D", resolution: "1m", fill: true }),
    '{"id":3,"method":"equity.history","params":{"range":"1D","resolution":"1m","fill":true}}',
  );
});

test("no damage to a frame makes its parser throw, and what is refused is explained", () => {
  for (let seed = 1; seed <= 2_000; seed += 1) {
    const random = seeded(seed);
    const name = pick(random, FRAMES);
    const damaged = damage(JSON.parse(golden(name)), random);
    const message =
      random() < 0.1 ? JSON.stringify(damaged).slice(0, Math.floor(random() * 80)) : JSON.stringify(damaged);
    const frame = parseFrame(message);
    idOf(message);
    if (!frame.ok) assert.notEqual(frame.problem, "", `seed ${seed}`);
    const method = answerMethod(name);
    if (frame.ok && frame.value.stream === "answer" && method !== undefined) {
      const result = parseResult(method, frame.value.result);
      if (!result.ok) assert.match(result.path, /^result/, `seed ${seed}`);
    }
  }
});

const ODDITIES: readonly unknown[] = [null, true, -1, 0.5, 2 ** 53, 1e300, "", "x", [], {}, [[]], { a: { b: [] } }];

/** A copy with one place changed, somewhere. */
function damage(value: unknown, random: () => number): unknown {
  if (random() < 0.2 || typeof value !== "object" || value === null) return pick(random, ODDITIES);
  if (Array.isArray(value)) {
    if (value.length === 0) return [pick(random, ODDITIES)];
    const at = Math.floor(random() * value.length);
    return value.map((item: unknown, index) => (index === at ? damage(item, random) : item));
  }
  const fields = Object.entries(value as Record<string, unknown>);
  const at = Math.floor(random() * fields.length);
  if (random() < 0.2) return Object.fromEntries(fields.filter((_, index) => index !== at));
  return Object.fromEntries(fields.map(([name, item], index) => [name, index === at ? damage(item, random) : item]));
}
