/** The calls of the shell: each settles, in its turn, once. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { ClientClosed, ProtocolViolation, RequestRefused, RequestTimedOut, TooManyCalls } from "../src/index.js";
import { equityFrame, settled } from "./fakes.js";
import { letIn, scene, summaryResult } from "./scene.js";

test("a call made before the connection is up is sent once it is", async () => {
  const { client, socket } = await scene();
  const summary = client.summary();
  socket().opens();
  assert.equal(socket().sent.length, 1, "auth.jwt comes first");
  letIn(socket());
  socket().answers("account.summary", summaryResult());
  assert.deepEqual(summaryResult(), await summary);
});

test("each call sends its method and parameters, and gets its own answer", async () => {
  const { client, socket } = await scene();
  letIn(socket());
  const positions = client.positions();
  const history = client.history({ range: "1D", resolution: "1m", fill: true, limit: 5 });
  const performance = client.performance({ start: 1_700_000_000 });
  const leaderboard = client.leaderboard({ range: "1W", limit: 3 });
  assert.deepEqual({ range: "1D", resolution: "1m", fill: true, limit: 5 }, socket().asked("equity.history").params);
  assert.deepEqual({ start: 1_700_000_000 }, socket().asked("equity.performance").params);
  assert.deepEqual({ range: "1W", limit: 3 }, socket().asked("leaderboard.list").params);
  const board = { range: "1W", entries: [], own: null, ranked_count: 0, version: 1 };
  socket().answers("leaderboard.list", board);
  socket().answers("positions.list", { positions: [], version: 1 });
  socket().answers("equity.history", { resolution: "1m", points: [], next: null });
  socket().refuses("equity.performance", "UNAVAILABLE", "EVS cannot be reached");
  assert.deepEqual(board, await leaderboard);
  assert.deepEqual({ positions: [], version: 1 }, await positions);
  assert.deepEqual({ resolution: "1m", points: [], next: null }, await history);
  await assert.rejects(performance, (error) => {
    assert.ok(error instanceof RequestRefused);
    assert.deepEqual(
      ["equity.performance", "UNAVAILABLE", "EVS cannot be reached"],
      [error.method, error.code, error.message],
    );
    return true;
  });
});

test("a call whose answer was lost with the socket is sent again on the next", async () => {
  const { client, socket, time } = await scene();
  letIn(socket());
  const summary = client.summary();
  assert.equal(socket().asked("account.summary").method, "account.summary");
  socket().ends(1006);
  time.pass(250);
  await settled();
  letIn(socket());
  socket().answers("account.summary", summaryResult());
  assert.deepEqual(summaryResult(), await summary);
});

test("a call that is not answered in time fails, and a late answer is dropped", async () => {
  const { client, socket, time } = await scene();
  letIn(socket());
  const summary = client.summary();
  time.pass(14_999);
  socket().says(equityFrame(2)); // a sign of life
  time.pass(1);
  await assert.rejects(summary, new RequestTimedOut("account.summary", 15_000));
  socket().answers("account.summary", summaryResult());
  assert.equal(client.status.kind, "live");
});

test("an answer that breaks the protocol fails its call, and says where", async () => {
  const { client, socket } = await scene();
  letIn(socket());
  const wrong = client.positions();
  socket().answers("positions.list", { positions: [{}], version: 1 });
  await assert.rejects(wrong, /positions\.list: result\.positions\[0\]\.symbol_id: expected a whole number/);
  const broken = client.positions();
  socket().says({ id: socket().asked("positions.list").id, error: "?" });
  await assert.rejects(broken, (error) => error instanceof ProtocolViolation);
});

test("no more calls are in flight than the bridge reads ahead, and the rest keep their turn", async () => {
  const { client, socket } = await scene();
  letIn(socket());
  const calls = Array.from({ length: 6 }, () => client.summary());
  const asked = (): number => socket().sent.filter((sent) => sent.method === "account.summary").length;
  assert.equal(asked(), 4);
  for (const id of [1, 2, 3, 4, 5, 6]) socket().says({ id, result: summaryResult() });
  assert.equal(asked(), 6);
  await Promise.all(calls);
});

test("a call that is not answered in time leaves its place to the next", async () => {
  const { client, socket, time } = await scene({ policy: { inFlightMax: 1, callMs: 9_000, pingMs: 60_000 } });
  letIn(socket());
  const first = client.summary();
  time.pass(5_000);
  const second = client.positions();
  assert.throws(() => socket().asked("positions.list"));
  time.pass(4_000);
  await assert.rejects(first, RequestTimedOut);
  socket().answers("positions.list", { positions: [], version: 1 });
  assert.deepEqual({ positions: [], version: 1 }, await second);
});

test("calls keep the pace that the bridge allows", async () => {
  const { client, socket, time } = await scene({
    policy: { callsPerMinute: 2, inFlightMax: 9, callMs: 60_000, pingMs: 600_000 },
  });
  letIn(socket());
  const calls = Array.from({ length: 3 }, () => client.summary());
  const asked = (): number => socket().sent.filter((sent) => sent.method === "account.summary").length;
  assert.equal(asked(), 2);
  time.pass(29_999);
  assert.equal(asked(), 2);
  time.pass(1);
  assert.equal(asked(), 3);
  for (const id of [1, 2, 3]) socket().says({ id, result: summaryResult() });
  await Promise.all(calls);
});

test("the pace is that of the socket: a new one has all of it, and a closed client keeps no timer for it", async () => {
  const policy = { callsPerMinute: 2, inFlightMax: 9 };
  const { client, socket, time } = await scene({ policy });
  letIn(socket());
  const calls = Array.from({ length: 3 }, () => client.summary());
  socket().ends(1006);
  time.pass(250);
  await settled();
  letIn(socket());
  assert.equal(socket().sent.filter((sent) => sent.method === "account.summary").length, 2);
  client.close();
  for (const call of calls) await assert.rejects(call, ClientClosed);
  assert.equal(time.pending, 0);
});

test("more calls than may wait are refused at once", async () => {
  const { client } = await scene({ policy: { callsMax: 1 } });
  const first = client.summary();
  await assert.rejects(client.summary(), new TooManyCalls("account.summary", 1));
  client.close();
  await assert.rejects(first, ClientClosed);
});

test("pages are asked for one after another, with the same parameters, until the last", async () => {
  const { client, socket } = await scene();
  letIn(socket());
  const seen: (string | null)[] = [];
  const reading = (async () => {
    for await (const page of client.historyPages({ range: "1Y", resolution: "1h" })) seen.push(page.next);
  })();
  for (const next of ["a", "b", null]) {
    socket().answers("equity.history", { resolution: "1h", points: [], next });
    await settled();
  }
  await reading;
  assert.deepEqual(["a", "b", null], seen);
  assert.deepEqual({ range: "1Y", resolution: "1h", next: "b" }, socket().asked("equity.history").params);
});

test("pages that do not end are noticed", async () => {
  const { client, socket } = await scene();
  letIn(socket());
  const pages = client.historyPages();
  const page = { resolution: "1h", points: [], next: "a" };
  const first = pages.next();
  socket().answers("equity.history", page);
  await first;
  const second = pages.next();
  socket().answers("equity.history", page);
  await assert.rejects(second, ProtocolViolation);
});
