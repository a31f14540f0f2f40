import assert from "node:assert/strict";
import { test } from "node:test";

import {
  ClientClosed,
  createClient,
  ProtocolViolation,
  RequestRefused,
  RequestTimedOut,
  TooManyCalls,
  type Client,
  type ClientOptions,
  type EquityFrame,
} from "../src/index.js";
import { equityFrame, fakePlatform, settled, type FakeSocket, type FakeTime } from "./fakes.js";
import { golden } from "./golden.js";

interface Scene {
  readonly client: Client;
  readonly time: FakeTime;
  readonly sockets: FakeSocket[];
  readonly statuses: string[];
  readonly values: EquityFrame[];
  readonly problems: string[];
  /** The newest socket. */
  socket(): FakeSocket;
}

/** A client in a place of fakes, once it has asked for its token. */
async function scene(options: Partial<ClientOptions> = {}): Promise<Scene> {
  const { time, sockets, platform } = fakePlatform();
  const statuses: string[] = [];
  const values: EquityFrame[] = [];
  const problems: string[] = [];
  const client = createClient({
    url: "ws://bridge/ws",
    token: () => "token",
    platform,
    onProblem: (problem) => problems.push(problem),
    ...options,
  });
  client.onStatus((status) => statuses.push(status.kind));
  client.subscribe((value) => values.push(value));
  await settled();
  const socket = (): FakeSocket => {
    const newest = sockets.at(-1);
    assert.ok(newest !== undefined, "no socket was opened");
    return newest;
  };
  return { client, time, sockets, statuses, values, problems, socket };
}

/** The bridge lets the newest socket in, and sends a snapshot. */
function letIn(socket: FakeSocket, version = 1): void {
  socket.opens();
  socket.answers("auth.jwt", { authenticated: true, account_id: 7 });
  socket.answers("equity.subscribe", { subscribed: true });
  socket.says(equityFrame(version, { snapshot: true }));
}

const summaryResult = (): unknown => (JSON.parse(golden("summary")) as { result: unknown }).result;

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

// --- calls -----------------------------------------------------------------------------------------------------

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
