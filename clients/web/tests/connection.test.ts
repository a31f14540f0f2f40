import assert from "node:assert/strict";
import { test } from "node:test";

import { createReducer } from "../src/model/connection.js";
import { DEFAULT_POLICY, retryDelay } from "../src/model/policy.js";
import { IDLE, isAuthenticated, TIMERS, type Effect, type Event, type State, type Status } from "../src/model/state.js";
import { CloseCode, mayReconnect } from "../src/wire/close-codes.js";
import { parseFrame, type Frame } from "../src/wire/frames.js";
import { equityFrame } from "./fakes.js";
import { pick, seeded } from "./seeded.js";

const reduce = createReducer(DEFAULT_POLICY, () => 0.5);

// --- what the bridge says, of account 7 ------------------------------------------------------------------------

function frame(wire: object): Frame {
  const parsed = parseFrame(JSON.stringify(wire));
  assert.ok(parsed.ok, JSON.stringify(parsed));
  return parsed.value;
}

const AUTHENTICATED = frame({ id: "auth", result: { authenticated: true, account_id: 7 } });
const OTHER_ACCOUNT = frame({ id: "auth", result: { authenticated: true, account_id: 8 } });
const SUBSCRIBED = frame({ id: "subscribe", result: { subscribed: true } });
const PONG = frame({ id: "ping", result: { pong: true } });
const LIVE = frame({ stream: "status", status: "live" });
const STALE = frame({ stream: "status", status: "stale", since: 1_700_000_000_123 });
const EXPIRING = frame({ stream: "status", status: "expiring", close_in_ms: 25_000 });
const equity = (version: number, snapshot = false): Frame => frame(equityFrame(version, { snapshot }));

// --- a connection, step by step --------------------------------------------------------------------------------

type News =
  | Exclude<Event, { generation: number }>
  | { kind: "token"; token: string | null }
  | { kind: "token_failed"; reason: string }
  | { kind: "opened" }
  | { kind: "lost"; code: number; reason?: string }
  | Frame;

/** What follows from news of the present attempt. */
function step(state: State, news: News): readonly [State, readonly Effect[]] {
  const { generation } = state;
  if ("stream" in news) return reduce(state, { kind: "frame", generation, frame: news });
  if (news.kind === "lost") return reduce(state, { generation, reason: "", ...news });
  return reduce(state, { generation, ...news } as Event);
}

function after(state: State, ...news: readonly News[]): State {
  return news.reduce((before, next) => step(before, next)[0], state);
}

const TOKEN: News = { kind: "token", token: "t" };
const connecting = after(IDLE, { kind: "start" });
const presenting = after(connecting, TOKEN, { kind: "opened" });
const subscribing = after(presenting, AUTHENTICATED);
const subscribed = after(subscribing, SUBSCRIBED);
const live = after(subscribed, equity(5, true));
const stale = after(live, STALE);
const waiting = after(live, { kind: "lost", code: 1012, reason: "restart" });
const closed = after(live, { kind: "end" });
const EVERY_STATE = { IDLE, connecting, presenting, subscribing, subscribed, live, stale, waiting, closed };

function timersSet(effects: readonly Effect[]): Record<string, number> {
  return Object.fromEntries(
    effects.flatMap((effect) => (effect.kind === "set_timer" ? [[effect.timer, effect.ms]] : [])),
  );
}

function sent(effects: readonly Effect[]): unknown[] {
  return effects.flatMap((effect) => (effect.kind === "send" ? [JSON.parse(effect.message)] : []));
}

function kinds(effects: readonly Effect[]): string[] {
  return effects.map((effect) => effect.kind);
}

// --- the way in ------------------------------------------------------------------------------------------------

test("a start asks for a token, a token opens a socket, an open socket is presented the token", () => {
  const [first, fetch] = step(IDLE, { kind: "start" });
  assert.deepEqual(first.status, { kind: "connecting" });
  assert.deepEqual(fetch, [
    { kind: "fetch_token", generation: 1 },
    { kind: "set_timer", timer: "handshake", ms: 30_000 },
  ]);
  const [second, open] = step(first, TOKEN);
  assert.deepEqual(kinds(open), ["open", "set_timer"]);
  assert.deepEqual(timersSet(open), { handshake: 15_000 });
  const [third, present] = step(second, { kind: "opened" });
  assert.deepEqual(third.status, { kind: "authenticating", step: "auth" });
  assert.deepEqual(sent(present), [{ id: "auth", method: "auth.jwt", params: { token: "t" } }]);
  assert.equal(third.token, null, "a token that was presented is forgotten");
});

test("once authenticated it subscribes, and calls may be made", () => {
  const [state, effects] = step(presenting, AUTHENTICATED);
  assert.deepEqual(sent(effects), [{ id: "subscribe", method: "equity.subscribe", params: {} }]);
  assert.equal(state.accountId, 7);
  assert.deepEqual([isAuthenticated(presenting), isAuthenticated(state)], [false, true]);
});

test("once subscribed it is neither live nor stale before the bridge has said which", () => {
  const [state, effects] = step(subscribing, SUBSCRIBED);
  assert.deepEqual(state.status, { kind: "authenticating", step: "value" });
  assert.deepEqual(effects, [
    { kind: "clear_timer", timer: "handshake" },
    { kind: "set_timer", timer: "heartbeat", ms: 15_000 },
  ]);
  assert.deepEqual(after(state, equity(1, true)).status, { kind: "live" });
  assert.deepEqual(after(state, STALE).status, { kind: "stale", since: 1_700_000_000_123 });
  assert.deepEqual(after(state, LIVE).status, { kind: "live" });
});

test("an attempt that takes too long is given up, and another is made later", () => {
  for (const state of [connecting, presenting, subscribing]) {
    const [next, effects] = step(state, { kind: "rang", timer: "handshake" });
    assert.equal(next.status.kind, "waiting");
    assert.equal(effects[0]?.kind, "disconnect");
    assert.deepEqual(timersSet(effects), { retry: 250 });
  }
});

test("a token that cannot be had is asked for again later", () => {
  const [state, effects] = step(connecting, { kind: "token_failed", reason: "token: offline" });
  assert.deepEqual(state.status, { kind: "waiting", delayMs: 250, loss: { code: null, reason: "token: offline" } });
  assert.deepEqual(timersSet(effects), { retry: 250 });
});

test("no token is the end", () => {
  const { status } = after(connecting, { kind: "token", token: null });
  assert.equal(status.kind === "closed" && status.ending.why, "no_token");
});

test("a subscription refused is an attempt failed; a token refused is for the close to explain", () => {
  const refusal = (id: string): Frame => frame({ id, error: { code: "OVERLOADED", message: "too many" } });
  assert.equal(after(subscribing, refusal("subscribe")).status.kind, "waiting");
  assert.equal(after(presenting, refusal("auth")), presenting);
});

test("an answer to auth.jwt that is none is an attempt failed", () => {
  assert.equal(after(presenting, frame({ id: "auth", result: {} })).status.kind, "waiting");
});

// --- values ----------------------------------------------------------------------------------------------------

test("a newer value is published; an older or repeated one is not, but as a snapshot", () => {
  const published = (state: State, news: Frame): boolean => kinds(step(state, news)[1]).includes("publish");
  assert.equal(published(live, equity(6)), true);
  assert.equal(published(live, equity(5)), false);
  assert.equal(published(live, equity(5, true)), true);
  assert.equal(published(live, equity(4, true)), false);
});

test("the version does not go back over a reconnection", () => {
  const back = after(waiting, { kind: "rang", timer: "retry" }, TOKEN, { kind: "opened" }, AUTHENTICATED, SUBSCRIBED);
  const [state, effects] = step(back, equity(4, true));
  assert.deepEqual([5, "live", []], [state.newest?.version, state.status.kind, effects]);
});

test("a value of another account is not shown, and is complained of", () => {
  const [state, effects] = step(live, frame(equityFrame(9, { account_id: 8 })));
  assert.equal(state.newest?.version, 5);
  assert.deepEqual(effects, [{ kind: "complain", problem: "an equity frame of account 8, expected 7" }]);
});

test("stale lasts until the bridge says live, whatever comes in between", () => {
  assert.deepEqual(after(stale, equity(6)).status, { kind: "stale", since: 1_700_000_000_123 });
  assert.deepEqual(after(stale, equity(6), LIVE).status, { kind: "live" });
  assert.equal(after(live, LIVE), live);
});

// --- tokens ----------------------------------------------------------------------------------------------------

test("a token that expires is replaced without a new socket", () => {
  for (const state of [subscribing, subscribed, live, stale]) {
    assert.deepEqual(step(state, EXPIRING), [state, [{ kind: "fetch_token", generation: 1 }]]);
  }
  const [kept, effects] = step(live, { kind: "token", token: "u" });
  assert.deepEqual(sent(effects), [{ id: "auth", method: "auth.jwt", params: { token: "u" } }]);
  assert.deepEqual(step(kept, AUTHENTICATED), [live, [{ kind: "clear_timer", timer: "refresh" }]]);
});

test("a new token that cannot be had is asked for again while the old one is in its grace", () => {
  const [state, effects] = step(live, { kind: "token_failed", reason: "offline" });
  assert.deepEqual([live, { refresh: 2_000 }], [state, timersSet(effects)]);
  assert.deepEqual(kinds(step(state, { kind: "rang", timer: "refresh" })[1]), ["fetch_token"]);
});

test("a token of another account ends the client: two accounts must never mix", () => {
  const reconnected = after(waiting, { kind: "rang", timer: "retry" }, TOKEN, { kind: "opened" });
  for (const state of [live, reconnected]) {
    const { status } = after(state, OTHER_ACCOUNT);
    assert.equal(status.kind === "closed" && status.ending.why, "other_account");
  }
});

test("three tokens refused in a row are the end; an accepted one starts the count again", () => {
  const refused: News = { kind: "lost", code: CloseCode.UNAUTHENTICATED, reason: "token is not good" };
  const again: readonly News[] = [{ kind: "rang", timer: "retry" }, TOKEN, { kind: "opened" }];
  const twice = after(presenting, refused, ...again, refused, ...again);
  const { status } = after(twice, refused);
  assert.deepEqual(status, {
    kind: "closed",
    ending: { why: "token_refused", code: 4401, reason: "token is not good" },
  });
  assert.equal(after(twice, AUTHENTICATED, refused).status.kind, "waiting");
});

// --- losses ----------------------------------------------------------------------------------------------------

test("after each close code it comes back or not, as the protocol says", () => {
  const back = [1000, 1001, 1005, 1006, 1011, 1012, 1013, 4000, 4401, 4429, 4508, 3999];
  const gone = [1002, 1003, 1007, 1008, 1009, 4400, 4403, 4404, 4408, 4410];
  for (const state of [connecting, presenting, subscribing, subscribed, live, stale]) {
    for (const code of back) assert.equal(after(state, { kind: "lost", code }).status.kind, "waiting", String(code));
    for (const code of gone) assert.equal(after(state, { kind: "lost", code }).status.kind, "closed", String(code));
  }
  assert.deepEqual(
    Object.values(CloseCode).filter((code) => !mayReconnect(code)),
    gone,
  );
});

test("a loss stops whatever was timed, but for the next attempt", () => {
  const [, effects] = step(live, { kind: "lost", code: 1006 });
  assert.deepEqual(effects, [
    ...TIMERS.map((timer) => ({ kind: "clear_timer", timer })),
    { kind: "set_timer", timer: "retry", ms: 250 },
  ]);
});

test("waits double up to their bound, and are anywhere below it", () => {
  const bounds = [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000];
  assert.deepEqual(
    bounds.map((_, attempt) => retryDelay(attempt, DEFAULT_POLICY, () => 0.999_999) + 1),
    bounds,
  );
  assert.equal(
    retryDelay(2_000, DEFAULT_POLICY, () => 0.5),
    15_000,
  );
  assert.equal(
    retryDelay(3, DEFAULT_POLICY, () => 0),
    0,
  );
});

test("a wait that the bridge asks for is kept, and spread", () => {
  const { status } = after(live, { kind: "lost", code: CloseCode.RATE_LIMITED, reason: "100 a minute: retry_ms=600" });
  assert.equal(status.kind === "waiting" && status.delayMs, 850);
});

test("waits grow over connections that are lost at once, and start again after one that held", () => {
  const again: readonly News[] = [
    { kind: "rang", timer: "retry" },
    TOKEN,
    { kind: "opened" },
    AUTHENTICATED,
    SUBSCRIBED,
  ];
  const beat: News = { kind: "rang", timer: "heartbeat" };
  const lost: News = { kind: "lost", code: 1006 };
  assert.equal(after(waiting, ...again, lost, ...again, lost).attempt, 3);
  assert.equal(after(waiting, ...again, lost, ...again, beat, PONG, beat).attempt, 0);
});

test("a retry starts another attempt, and news of the one before comes too late", () => {
  const [state, effects] = step(waiting, { kind: "rang", timer: "retry" });
  assert.deepEqual(effects[0], { kind: "fetch_token", generation: 2 });
  const generation = 1;
  const late: readonly Event[] = [
    { kind: "opened", generation },
    { kind: "token", generation, token: "old" },
    { kind: "lost", generation, code: 4403, reason: "" },
    { kind: "frame", generation, frame: AUTHENTICATED },
  ];
  for (const event of late) assert.deepEqual(reduce(state, event), [state, []]);
});

// --- heartbeat -------------------------------------------------------------------------------------------------

test("a quiet connection is pinged, and anything that comes is a sign of life", () => {
  const [asked, effects] = step(live, { kind: "rang", timer: "heartbeat" });
  assert.deepEqual(sent(effects), [{ id: "ping", method: "ping", params: {} }]);
  assert.deepEqual(timersSet(effects), { heartbeat: 10_000 });
  for (const sign of [PONG, equity(6), frame({ stream: "news" })]) {
    const [rested, next] = step(after(asked, sign), { kind: "rang", timer: "heartbeat" });
    assert.deepEqual(["resting", { heartbeat: 15_000 }], [rested.heartbeat, timersSet(next)]);
  }
});

test("a connection that stays silent after a ping is given up", () => {
  const [state, effects] = step(after(live, { kind: "rang", timer: "heartbeat" }), {
    kind: "rang",
    timer: "heartbeat",
  });
  assert.equal(state.status.kind === "waiting" && state.status.loss.code, CloseCode.HEARTBEAT);
  assert.deepEqual(effects[0], { kind: "disconnect", code: 4000, reason: "not heard in time" });
});

test("a nudge ends a wait, or looks whether the connection is good", () => {
  assert.deepEqual(kinds(step(waiting, { kind: "nudge" })[1]), ["clear_timer", "fetch_token", "set_timer"]);
  assert.equal(after(live, { kind: "nudge" }).heartbeat, "asked");
  for (const state of [IDLE, connecting, presenting, subscribing, after(live, { kind: "nudge" })]) {
    assert.deepEqual(step(state, { kind: "nudge" }), [state, []]);
  }
});

// --- the end ---------------------------------------------------------------------------------------------------

test("the end closes the socket, stops every timer, and nothing follows it", () => {
  const [state, effects] = step(live, { kind: "end" });
  assert.deepEqual(state.status, {
    kind: "closed",
    ending: { why: "asked", code: null, reason: "closed by its owner" },
  });
  assert.deepEqual(effects, [
    ...TIMERS.map((timer) => ({ kind: "clear_timer", timer })),
    { kind: "disconnect", code: 1000, reason: "" },
  ]);
  for (const news of everyNews(1)) assert.deepEqual(step(state, news), [state, []]);
});

// --- in any order ----------------------------------------------------------------------------------------------

function everyNews(version: number): readonly News[] {
  return [
    { kind: "start" },
    TOKEN,
    { kind: "token_failed", reason: "offline" },
    { kind: "opened" },
    { kind: "nudge" },
    ...TIMERS.map((timer) => ({ kind: "rang", timer }) as const),
    ...[1006, 1012, 4401, 4429].map((code) => ({ kind: "lost", code }) as const),
    ...[AUTHENTICATED, SUBSCRIBED, PONG, LIVE, STALE, EXPIRING, equity(version), equity(version, true)],
    frame({ id: 5, result: null }),
    frame({ id: "auth", error: { code: "UNAUTHENTICATED", message: "no" } }),
  ];
}

const STEPS: Readonly<Record<Status["kind"], readonly Status["kind"][]>> = {
  idle: ["connecting", "closed"],
  connecting: ["authenticating", "waiting", "closed"],
  authenticating: ["live", "stale", "waiting", "closed"],
  live: ["stale", "waiting", "closed"],
  stale: ["live", "waiting", "closed"],
  waiting: ["connecting", "closed"],
  closed: [],
};

test("any news in any state is taken: the state moves as drawn, and what is pure changes nothing", () => {
  for (const [name, state] of Object.entries(EVERY_STATE)) {
    for (const news of [...everyNews(9), { kind: "token", token: null } as const, OTHER_ACCOUNT]) {
      const before = JSON.stringify(state);
      const { kind } = step(state, news)[0].status;
      assert.ok(kind === state.status.kind || STEPS[state.status.kind].includes(kind), `${name} → ${kind}`);
      assert.equal(JSON.stringify(state), before);
    }
  }
});

test("whatever happens, versions grow, a timer is set while something is awaited, and a token is soon forgotten", () => {
  for (let seed = 1; seed <= 300; seed += 1) {
    const random = seeded(seed);
    const timers = new Set<string>();
    let state = IDLE;
    let shown = 0;
    let version = 1;
    for (let count = 0; count < 120; count += 1) {
      version += random() < 0.5 ? 1 : 0;
      const news = pick(random, everyNews(random() < 0.2 ? Math.ceil(version * random()) : version));
      if ("kind" in news && news.kind === "rang" && !timers.delete(news.timer)) continue;
      const [next, effects] = step(state, news);
      for (const effect of effects) {
        if (effect.kind === "set_timer") timers.add(effect.timer);
        if (effect.kind === "clear_timer") timers.delete(effect.timer);
        if (effect.kind === "publish") {
          assert.ok(effect.equity.version >= shown, `seed ${seed}: ${effect.equity.version} after ${shown}`);
          shown = effect.equity.version;
        }
      }
      state = next;
      const { kind } = state.status;
      if (kind !== "idle" && kind !== "closed") assert.ok(timers.size > 0, `seed ${seed}: ${kind} without a timer`);
      if (kind === "closed") assert.equal(timers.size, 0, `seed ${seed}`);
      if (kind !== "connecting") assert.equal(state.token, null, `seed ${seed}`);
    }
  }
});
