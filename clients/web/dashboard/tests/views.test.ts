import assert from "node:assert/strict";
import { test } from "node:test";

import { CloseCode, ProtocolViolation, RequestRefused, RequestTimedOut } from "../../src/index.js";
import type {
  BasisPoints,
  Cents,
  Ending,
  EquityFrame,
  Leaderboard,
  Percent,
  UnixMillis,
  Version,
} from "../../src/index.js";
import { parseFrame } from "../../src/wire/frames.js";
import { parseResult, type MethodName, type Result } from "../../src/wire/methods.js";
import { golden } from "../../tests/golden.js";
import { age, ago, signedShareOf } from "../format.js";
import { badgeOf, freshnessOf, signInReason } from "../view/badge.js";
import { figuresOf } from "../view/figures.js";
import { holdingsOf } from "../view/holdings.js";
import { noticesOf } from "../view/notices.js";
import { overviewOf } from "../view/overview.js";
import { reasonOf } from "../view/problems.js";
import { rankingOf } from "../view/ranking.js";

const NO_NAMES: ReadonlyMap<number, string> = new Map();

function frameOf(name: string): EquityFrame {
  const frame = parseFrame(golden(name));
  assert.ok(frame.ok && frame.value.stream === "equity");
  return frame.value;
}

function answerOf<Name extends MethodName>(name: string, method: Name): Result<Name> {
  const answer = JSON.parse(golden(name)) as { result: unknown };
  const parsed = parseResult(method, answer.result);
  assert.ok(parsed.ok, JSON.stringify(parsed));
  return parsed.value;
}

test("ages are told in the largest unit that fits", () => {
  const table: [string, number][] = [
    ["now", 0],
    ["1 s", 1_999],
    ["59 s", 59_999],
    ["1 min", 60_000],
    ["59 min", 3_599_999],
    ["47 h", 47 * 3_600_000],
    ["2 d", 48 * 3_600_000],
  ];
  for (const [told, elapsed] of table) assert.equal(age(elapsed), told);
  assert.equal(ago(0), "just now");
  assert.equal(ago(60_000), "1 min ago");
});

test("a share of an amount is exact however large the amount, rounded as the server does, and signed by the part", () => {
  const table: [string, number, number][] = [
    ["+10.00%", 100, 1_000],
    ["−33.33%", -1, 3],
    ["−33.33%", -1, -3],
    ["+100.00%", Number.MAX_SAFE_INTEGER, -Number.MAX_SAFE_INTEGER],
    ["0.00%", 0, 5],
    ["+0.71%", 17_661, 2_500_000],
    ["−0.14%", -3_386, 2_500_000],
    ["", 5, 0],
  ];
  for (const [told, part, whole] of table) assert.equal(signedShareOf(part as Cents, whole as Cents), told);
});

// --- the account -----------------------------------------------------------------------------------------------

test("the figures of a frame are its cents, in dollars", () => {
  const overview = overviewOf(frameOf("equity_snapshot"));
  assert.deepEqual(overview, {
    version: 4_294_967_297,
    equity: { cents: 1_100_000, text: "$11,000.00", direction: "flat" },
    dayChange: { cents: 100_000, text: "+$1,000.00", direction: "up" },
    dayPercent: "+10.00%",
    cash: { cents: 500_000, text: "$5,000.00", direction: "flat" },
    positionValue: { cents: 600_000, text: "$6,000.00", direction: "flat" },
    unrealized: { cents: 100_000, text: "+$1,000.00", direction: "up" },
    realized: { cents: 0, text: "$0.00", direction: "flat" },
  });
});

test("a debt is pointed out, and no percentage is told that means nothing", () => {
  const overview = overviewOf(frameOf("equity_change"));
  assert.deepEqual(overview.equity, { cents: -25, text: "−$0.25", direction: "down" });
  assert.deepEqual(overview.dayChange, { cents: -25, text: "−$0.25", direction: "down" });
  assert.equal(overview.dayPercent, "", "the flag NO_BASE is set");
});

test("flags are told in words, the grave one first, and an unknown one by its name", () => {
  const notices = noticesOf(["UNPRICED", "IDENTITY_VIOLATED", "MOON_PHASE", "constructor"]);
  assert.deepEqual(
    notices.map(({ flag, weight }) => [flag, weight]),
    [
      ["IDENTITY_VIOLATED", "danger"],
      ["UNPRICED", "caution"],
      ["MOON_PHASE", "caution"],
      ["constructor", "caution"],
    ],
  );
  assert.equal(notices[2]?.text, "moon phase");
});

// --- positions -------------------------------------------------------------------------------------------------

test("positions are told with their price's source and age, and add up", () => {
  const positions = answerOf("positions", "positions.list");
  const holdings = holdingsOf(positions, new Map([[1, "Milo Vance"]]), 1_700_000_002_000, 1_700_000_005_250);
  const [long, short] = holdings.lines;
  assert.deepEqual(
    [long?.name, long?.kind, long?.quantity, long?.averageCost, long?.price, long?.priceNote],
    ["Milo Vance", "long", "100", "$50.00", "$60.00", "mark, 5 s"],
  );
  assert.deepEqual(
    [long?.value.text, long?.unrealized.text, long?.unrealizedPercent],
    ["$6,000.00", "+$1,000.00", "+20.00%"],
  );
  assert.deepEqual(
    [short?.name, short?.kind, short?.quantity, short?.priceNote, short?.realized.text],
    ["#9", "short", "−0.5", "at cost", "−$0.12"],
  );
  assert.deepEqual(
    [holdings.value.cents, holdings.unrealized.cents, holdings.realized.cents],
    [600_000 - 166, 100_000, -12],
  );
  assert.deepEqual([holdings.openCount, holdings.closedCount, holdings.version], [2, 0, 4_294_967_297]);
});

test("a closed position keeps what it made, in the totals too", () => {
  const { positions, version } = answerOf("positions", "positions.list");
  const nothing = { quantity_bp: 0 as BasisPoints, market_value: 0 as Cents, unrealized_pnl: 0 as Cents };
  const closed = positions.map((position) => ({ ...position, ...nothing }));
  const holdings = holdingsOf({ positions: closed, version }, NO_NAMES, 0, 0);
  assert.deepEqual([holdings.openCount, holdings.closedCount], [0, 2]);
  assert.equal(holdings.realized.text, "−$0.12");
  assert.deepEqual(
    holdings.lines.map(({ kind, averageCost }) => [kind, averageCost]),
    [
      ["closed", ""],
      ["closed", ""],
    ],
  );
});

test("a price from a clock that is ahead is not from the future", () => {
  const holdings = holdingsOf(answerOf("positions", "positions.list"), NO_NAMES, 0, 1_699_999_999_000);
  assert.equal(holdings.lines[0]?.priceNote, "mark, now");
});

// --- returns ---------------------------------------------------------------------------------------------------

test("one's own place stands beneath the first ones if it is not among them", () => {
  const entry = { rank: 1, name: "Ada", return_percent: 1.25 as Percent, own: false };
  const own = { rank: 1_037, name: null, return_percent: -3 as Percent, own: true };
  const board = { range: "1D", entries: [entry], own, ranked_count: 2_000, version: 1 } as unknown as Leaderboard;
  const ranking = rankingOf(board, 0);
  assert.deepEqual(
    ranking.places.map(({ rank, name, change, own, apart }) => [rank, name, change, own, apart]),
    [
      ["1", "Ada", "+1.25%", false, false],
      ["1,037", "Your account", "−3.00%", true, true],
    ],
  );
  assert.match(ranking.note, /^2,000 accounts ranked as of \d\d:\d\d:\d\d\.$/);
  assert.equal(rankingOf({ ...board, entries: [entry, own] }, 0).places.length, 2, "and only once");
});

test("who is not ranked is told why", () => {
  assert.match(rankingOf(answerOf("leaderboard_unranked", "leaderboard.list"), 0).note, /not|nobody/i);
});

test("the figures of a range are those of the answer", () => {
  const performance = answerOf("performance", "equity.performance");
  const figures = figuresOf(performance, null);
  assert.deepEqual(
    figures.map(({ key }) => key),
    ["return", "profit", "flow", "drawdown", "high"],
  );
  assert.equal(figuresOf({ ...performance, drawdown_percent: 0 as Percent }, null)[3]?.note, "now at its high");
  assert.match(figures[0]?.note ?? "", /^as of \d\d:\d\d:\d\d$/, "the values beside them may be newer");
});

test("the figures of the present session follow each value", () => {
  const performance = answerOf("performance", "equity.performance");
  const newer = { ...frameOf("equity_snapshot"), version: (performance.version + 1) as Version };
  const texts = (today: EquityFrame): readonly string[] => figuresOf(performance, today).map(({ text }) => text);
  assert.deepEqual(texts(newer).slice(0, 2), ["+10.00%", "+$1,000.00"]);
  assert.deepEqual(texts({ ...newer, version: performance.version }).slice(0, 2), ["+4.76%", "+$500.00"]);
  assert.equal(figuresOf(performance, newer)[0]?.note, "");
  assert.deepEqual(texts({ ...newer, flags: ["NO_BASE"] }).slice(0, 2), ["+4.76%", "+$500.00"]);
});

// --- the connection --------------------------------------------------------------------------------------------

test("only a live badge does not dim the numbers", () => {
  assert.equal(badgeOf({ kind: "live" }, null).dimmed, false);
  assert.equal(badgeOf({ kind: "connecting" }, null).label, "Connecting");
  const stale = badgeOf({ kind: "stale", since: 1_700_000_000_000 as UnixMillis }, 1);
  assert.deepEqual([stale.kind, stale.dimmed], ["stale", true]);
  assert.match(stale.label, /^Stale since \d\d:\d\d:\d\d$/);
});

test("a connection that was good and is lost is being reconnected, whatever it is doing at the moment", () => {
  const waiting = { kind: "waiting", delayMs: 5, loss: { code: 1006, reason: "" } } as const;
  for (const status of [waiting, { kind: "connecting" }, { kind: "authenticating", step: "auth" }] as const) {
    assert.match(badgeOf(status, 1_700_000_000_000).label, /^Reconnecting since \d\d:\d\d:\d\d$/);
  }
  assert.match(badgeOf(waiting, null).advice, /tried again/, "before the first success too, one is told");
});

test("every end says what to do about it", () => {
  const ending = (why: Ending["why"], code: number | null = null): Ending => ({ why, code, reason: "" });
  assert.match(signInReason(ending("token_refused"), true), /expired/);
  assert.match(signInReason(ending("token_refused"), false), /not accepted/);
  assert.equal(badgeOf({ kind: "closed", ending: ending("no_token") }, 1).label, "Session expired");
  assert.equal(badgeOf({ kind: "closed", ending: ending("token_refused") }, null).label, "Token not accepted");
  assert.match(signInReason(ending("refused", CloseCode.NOT_FOUND), false), /no such account/);
  assert.match(signInReason(ending("refused", CloseCode.TOO_MANY_CONNECTIONS), false), /Close one of them/);
  assert.match(signInReason(ending("refused", CloseCode.FORBIDDEN), true), /another account/);
  assert.match(signInReason(ending("other_account"), true), /another account/);
  assert.match(signInReason(ending("refused", 1008), false), /1008.*Reload/);
});

test("freshness is told once there is something to be fresh", () => {
  assert.equal(freshnessOf(null, 5), "");
  assert.equal(freshnessOf(1_000, 3_500), "Updated 2 s ago");
  assert.equal(freshnessOf(5_000, 3_500), "Updated just now", "of a clock that is ahead");
});

test("every problem says what happens next, and never shows what is meant for programs", () => {
  assert.match(reasonOf(new RequestRefused("ping", "UNAVAILABLE", "x")), /nothing needs to be done/);
  assert.match(reasonOf(new RequestRefused("ping", "OVERLOADED", "x")), /busy/);
  assert.match(reasonOf(new RequestRefused("ping", "INTERNAL", "x")), /INTERNAL.*asked again/);
  assert.match(reasonOf(new RequestTimedOut("ping", 5)), /in time/);
  assert.match(reasonOf(new ProtocolViolation("x")), /understood/);
});
