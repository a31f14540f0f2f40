import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { test } from "node:test";

import { HISTORY_RANGES, RESOLUTIONS } from "../../src/index.js";
import { pick, seeded } from "../../tests/seeded.js";
import { tickLabel } from "../chart/axis.js";
import { BARS_MAX, Course, LENGTH_S, type Bar } from "../chart/course.js";
import { finestFor, POINTS_MAX, USUAL } from "../chart/resolutions.js";
import { legendOf, sentenceOf } from "../chart/words.js";

function flat(time: number, cents: number): Bar {
  return { time, open: cents, high: cents, low: cents, last: cents };
}

function value(timestamp: number, total_equity: number): { timestamp: number; total_equity: number } {
  return { timestamp, total_equity };
}

test("a live value widens the bar that it belongs to", () => {
  const course = new Course();
  course.load("1m", [flat(60, 100)]);
  assert.equal(course.follow(value(75, 130)), "merged");
  assert.equal(course.follow(value(119, 90)), "merged");
  assert.deepEqual(course.bars, [{ time: 60, open: 100, high: 130, low: 90, last: 90 }]);
});

test("a value after the newest bar opens another, and quiet bars in between stay as they were", () => {
  const course = new Course();
  course.load("1m", [flat(60, 100)]);
  assert.equal(course.follow(value(245, 130)), "grown");
  assert.deepEqual(course.bars, [flat(60, 100), flat(120, 100), flat(180, 100), flat(240, 130)]);
});

test("a value from before the newest bar changes nothing", () => {
  const course = new Course();
  course.load("1m", [flat(60, 100), flat(120, 110)]);
  assert.equal(course.follow(value(119, 500)), "older");
  assert.deepEqual(course.bars, [flat(60, 100), flat(120, 110)]);
});

test("only the bridge knows where an hour or a session begins, so a new one is asked for", () => {
  for (const resolution of ["1h", "1d"] as const) {
    const course = new Course();
    const start = 1_700_001_000; // half past, as in zones that are so
    course.load(resolution, [flat(start, 100)]);
    assert.equal(course.follow(value(start + LENGTH_S[resolution] - 1, 101)), "merged");
    assert.equal(course.follow(value(start + LENGTH_S[resolution], 102)), "rolled");
    assert.equal(course.bars.at(-1)?.time, start + LENGTH_S[resolution]);
  }
});

test("bars are never more than can be drawn", () => {
  const course = new Course();
  course.load("raw", [flat(0, 100)]);
  assert.equal(course.follow(value(BARS_MAX, 101)), "behind");
  assert.equal(course.bars.length, 1);
  assert.equal(course.follow(value(BARS_MAX - 1, 101)), "grown");
  assert.equal(course.bars.length, BARS_MAX);
});

test("without history the first value begins it", () => {
  const course = new Course();
  course.load("5m", []);
  assert.equal(course.follow(value(601, 7)), "grown");
  assert.deepEqual(course.bars, [flat(600, 7)]);
});

test("whatever comes, times ascend, each once, and the newest bar ends with the newest value", () => {
  const random = seeded(11);
  for (let round = 0; round < 200; round += 1) {
    const course = new Course();
    course.load(pick(random, RESOLUTIONS), round % 2 === 0 ? [] : [flat(1_700_000_000, 1)]);
    let at = 1_700_000_000;
    for (let step = 0; step < 50; step += 1) {
      at += Math.floor(random() * 400) - 20;
      const cents = Math.floor(random() * 1_000) - 500;
      const change = course.follow(value(at, cents));
      const newest = course.bars.at(-1);
      if (change !== "older" && change !== "behind") assert.equal(newest?.last, cents);
    }
    const times = course.bars.map(({ time }) => time);
    assert.deepEqual(
      times,
      [...new Set(times)].sort((a, b) => a - b),
    );
    for (const { open, high, low, last } of course.bars) {
      assert.ok(low <= Math.min(open, last) && Math.max(open, last) <= high);
    }
  }
});

test("a young account is shown more finely, as far as one page goes", () => {
  assert.equal(finestFor("1d", 400), "1d");
  assert.equal(finestFor("1d", 90), "1h");
  assert.equal(finestFor("1d", 1), "1m");
  assert.equal(finestFor("1m", 41), "raw");
  assert.equal(finestFor("1m", 42), "1m");
  assert.equal(finestFor("1m", 0), "1m", "nothing is not more, however fine");
  for (const range of HISTORY_RANGES) {
    const finer = finestFor(USUAL[range], 2_000);
    assert.ok((2_000 * LENGTH_S[USUAL[range]]) / LENGTH_S[finer] <= POINTS_MAX);
  }
});

test("the chart is told in words for who cannot see it", () => {
  const bars = [flat(60, 10_000), { time: 120, open: 10_000, high: 12_500, low: 9_000, last: 11_000 }];
  assert.equal(
    sentenceOf(bars, "1D"),
    "Total equity, today: from $100.00 to $110.00, +$10.00 (+10.00%); lowest $90.00, highest $125.00.",
  );
  assert.equal(sentenceOf([], "1D"), "");
  assert.equal(legendOf([], "1m", null), null);
  assert.equal(legendOf(bars, "1m", null)?.value, "$110.00");
  assert.equal(legendOf(bars, "1m", bars[0] ?? null)?.change, "$0.00 (0.00%)");
});

test("the time axis tells hours within a day, and days beyond", () => {
  const noon = 1_700_049_600;
  assert.match(tickLabel(noon, 3, "1m", 0), /^\d\d:\d\d$/);
  assert.match(tickLabel(noon, 4, "raw", 0), /^\d\d:\d\d:\d\d$/);
  assert.equal(tickLabel(noon, 2, "1h", 0), "15 Nov");
  assert.equal(tickLabel(noon, 0, "1d", 0), "Nov 2023");
});

const ZONES = ["UTC", "America/Los_Angeles", "America/New_York", "Asia/Kolkata", "Asia/Tokyo"];

/** What a reader in a zone would see; zones are read when a program starts, so each has one of its own. */
function inZone(zone: string, expression: string): unknown {
  const module = new URL("../chart/axis.js", import.meta.url).href;
  const script = `import(${JSON.stringify(module)}).then((axis) => console.log(JSON.stringify(${expression})))`;
  const env = { ...process.env, TZ: zone };
  return JSON.parse(execFileSync(process.execPath, ["--eval", script], { env, encoding: "utf8", timeout: 60_000 }));
}

test("wherever the reader is, the axis has its days begin at midnight and says the reader's hour", () => {
  const midnight = 1_700_024_400; // in New York
  assert.equal(inZone("America/New_York", `axis.axisOffset(${midnight}, "1m")`), 1_700_006_400 - midnight);
  assert.equal(inZone("America/New_York", 'axis.tickLabel(1_700_006_400, 2, "1h", -18_000)'), "15 Nov");
  assert.equal(inZone("America/New_York", 'axis.tickLabel(1_700_010_000, 3, "1h", -18_000)'), "01:00");
});

test("a session is told by its own date, wherever the reader is", () => {
  for (const zone of ZONES) {
    const start = 1_700_006_400; // 15 November, at midnight in UTC
    const told = inZone(zone, `[axis.timeLabel(${start}, "1d"), (${start} + axis.axisOffset(${start}, "1d"))]`);
    const [full, axisTime] = told as [string, number];
    assert.equal(full, "15 Nov 2023", zone);
    assert.equal(tickLabel(axisTime, 2, "1d", 0), "15 Nov", zone);
  }
});
