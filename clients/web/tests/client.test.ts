/** The shell: following an account through losses, and closing. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { ClientClosed, createClient } from "../src/index.js";
import { equityFrame, fakePlatform, settled } from "./fakes.js";
import { golden } from "./golden.js";
import { letIn, scene } from "./scene.js";

// --- following -------------------------------------------------------------------------------------------------

test("a client logs in, subscribes, and hears each value", async () => {
  const { client, socket, statuses, values } = await scene();
  letIn(socket(), 4);
  socket().says(equityFrame(5));
  assert.deepEqual(["connecting", "authenticating", "authenticating", "authenticating", "live"], statuses);
  assert.deepEqual(
    [4, 5],
    values.map((value) => value.version),
  );
  assert.equal(socket().url, "ws://bridge/ws");
  assert.deepEqual({ token: "token" }, socket().asked("auth.jwt").params);
  assert.equal(client.equity?.version, 5);
  assert.equal(client.heardAt, 1_700_000_000_000);
});

test("who subscribes later hears the newest value at once, and who has had enough hears no more", async () => {
  const { client, socket } = await scene();
  letIn(socket(), 4);
  const heard: number[] = [];
  const unsubscribe = client.subscribe((value) => heard.push(value.version));
  socket().says(equityFrame(5));
  unsubscribe();
  unsubscribe();
  socket().says(equityFrame(6));
  assert.deepEqual([4, 5], heard);
});

test("a lost connection is opened again with a token of its own, and versions do not go back", async () => {
  let count = 0;
  const { client, socket, sockets, time, values, statuses } = await scene({
    token: async () => `token ${(count += 1)}`,
  });
  letIn(socket(), 4);
  socket().ends(1012, "restart");
  assert.equal(client.status.kind, "waiting");
  time.pass(249);
  assert.equal(sockets.length, 1);
  time.pass(1);
  await settled();
  assert.equal(sockets.length, 2);
  letIn(socket(), 3);
  socket().says(equityFrame(5));
  assert.deepEqual({ token: "token 2" }, socket().asked("auth.jwt").params);
  assert.deepEqual(
    [4, 5],
    values.map((value) => value.version),
  );
  assert.deepEqual(["waiting", "connecting"], statuses.slice(5, 7));
});

test("what an old socket still says is not heard", async () => {
  const { client, sockets, socket, time, values } = await scene();
  letIn(socket(), 4);
  time.pass(15_000 + 10_000); // a ping, and no answer
  const [old] = sockets;
  assert.equal(old?.closedWith, 4000);
  const heardAt = client.heardAt;
  time.pass(1);
  old?.says(equityFrame(9));
  old?.ends(4403);
  assert.deepEqual([client.status.kind, client.heardAt], ["waiting", heardAt]);
  assert.deepEqual(
    [4],
    values.map((value) => value.version),
  );
});

test("staleness is told, and recovery", async () => {
  const { socket, client } = await scene();
  letIn(socket());
  socket().says(golden("status_stale"));
  assert.deepEqual({ kind: "stale", since: 1_700_000_000_123 }, client.status);
  socket().says(golden("status_live"));
  assert.deepEqual({ kind: "live" }, client.status);
});

test("an expired token is replaced on the same socket", async () => {
  let count = 0;
  const { client, socket, sockets } = await scene({ token: () => `token ${(count += 1)}` });
  letIn(socket());
  socket().says(golden("status_expiring"));
  await settled();
  assert.deepEqual({ token: "token 2" }, socket().asked("auth.jwt").params);
  socket().answers("auth.jwt", { authenticated: true, account_id: 7 });
  assert.deepEqual(["live", 1], [client.status.kind, sockets.length]);
});

test("a token that fails is asked for again, whether it is thrown or rejected", async () => {
  let count = 0;
  const { client, time, sockets } = await scene({
    token: () => {
      count += 1;
      if (count === 1) throw new Error("logged out");
      return count === 2 ? Promise.reject(new Error("offline")) : "token";
    },
  });
  assert.deepEqual({ kind: "waiting", delayMs: 250, loss: { code: null, reason: "token: logged out" } }, client.status);
  time.pass(250);
  await settled();
  time.pass(500);
  await settled();
  assert.deepEqual([3, 1], [count, sockets.length]);
});

test("a page that may not open a socket tries again", async () => {
  class Forbidden {
    constructor() {
      throw new Error("insecure");
    }
  }
  const { platform } = fakePlatform();
  const { client } = await scene({ platform: { ...platform, WebSocket: Forbidden as never } });
  assert.deepEqual({ kind: "waiting", delayMs: 250, loss: { code: 1006, reason: "Error: insecure" } }, client.status);
});

test("where there is no WebSocket a client cannot be made", () => {
  const globals = globalThis as { WebSocket?: unknown };
  const kept = globals.WebSocket;
  delete globals.WebSocket;
  try {
    assert.throws(() => createClient({ url: "ws://bridge/ws", token: () => "token" }), TypeError);
  } finally {
    if (kept !== undefined) globals.WebSocket = kept;
  }
});

test("a nudge ends a wait", async () => {
  const { client, socket, sockets } = await scene();
  letIn(socket());
  socket().ends(1006);
  client.nudge();
  await settled();
  assert.equal(sockets.length, 2);
});

test("a message that makes no sense is reported, and harms nothing", async () => {
  const { client, socket, problems, values } = await scene();
  letIn(socket(), 1);
  socket().says("{");
  socket().says({ stream: "equity", data: {} });
  socket().says(equityFrame(8, { account_id: 8 }));
  socket().says(equityFrame(2));
  assert.deepEqual(
    [
      "expected JSON",
      `data.account_id: expected a whole number from 1 to ${Number.MAX_SAFE_INTEGER}, got nothing`,
      "an equity frame of account 8, expected 7",
    ],
    problems,
  );
  assert.deepEqual(
    [1, 2],
    values.map((value) => value.version),
  );
  assert.equal(client.status.kind, "live");
});

test("a listener that throws keeps nobody from hearing, and is reported as any uncaught error", async () => {
  const { client, socket, values } = await scene();
  const reported: unknown[] = [];
  const before = process.listeners("unhandledRejection");
  process.removeAllListeners("unhandledRejection");
  process.once("unhandledRejection", (error) => reported.push(error));
  const fault = new Error("a fault of the page");
  client.subscribe(() => {
    throw fault;
  });
  letIn(socket());
  await settled();
  for (const listener of before) process.on("unhandledRejection", listener);
  assert.deepEqual([fault], reported);
  assert.equal(values.length, 1);
});

test("who subscribes while a value is told hears it once", async () => {
  const { client, socket } = await scene();
  const heard: number[] = [];
  const unsubscribe = client.subscribe(() => {
    unsubscribe();
    client.subscribe((value) => heard.push(value.version));
  });
  letIn(socket(), 4);
  assert.deepEqual([4], heard);
});

test("a listener may close the client, and hears nothing after", async () => {
  const { client, socket, values, statuses } = await scene();
  client.subscribe(() => client.close());
  letIn(socket());
  socket().says(equityFrame(2));
  assert.deepEqual(
    [1],
    values.map((value) => value.version),
  );
  assert.deepEqual(["live", "closed"], statuses.slice(-2));
});

// --- the end ---------------------------------------------------------------------------------------------------

test("every promise settles when the client closes, and no timer is left", async () => {
  const { client, socket, time } = await scene();
  letIn(socket());
  const calls = [client.summary(), client.positions(), client.history(), client.performance(), client.leaderboard()];
  client.close();
  for (const call of calls) await assert.rejects(call, ClientClosed);
  await assert.rejects(client.summary(), /the client is closed: closed by its owner/);
  assert.deepEqual([0, 1000], [time.pending, socket().closedWith]);
  client.close();
  client.nudge();
  assert.equal(client.status.kind, "closed");
});

test("after a close for good there is no further attempt, and calls say why", async () => {
  const { client, socket, sockets, time } = await scene();
  letIn(socket());
  const summary = client.summary();
  socket().ends(4404, "account 7 does not exist");
  await assert.rejects(summary, (error) => {
    assert.ok(error instanceof ClientClosed);
    assert.deepEqual({ why: "refused", code: 4404, reason: "account 7 does not exist" }, error.ending);
    return true;
  });
  time.pass(600_000);
  await settled();
  assert.deepEqual([1, 0], [sockets.length, time.pending]);
});

test("a client that is closed while it waits for its token opens nothing", async () => {
  const { client, sockets } = await scene({ token: () => new Promise(() => undefined) });
  client.close();
  await settled();
  assert.equal(sockets.length, 0);
});
