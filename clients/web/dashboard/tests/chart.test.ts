import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { test } from "node:test";

import { HISTORY_RANGES, RESOLUTIONS, type Resolution } from "../../src/index.js";
import { pick, seeded } from "../../tests/seeded.js";
import { BARS_MAX, Course, LENGTH_S, type Bar, type Change } from "../chart/course.js";
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

/** A course of one bar, and what becomes of a value after so many hours of it. */
function oneBar(resolution: Resolution): { course: Course; after: (hours: number) => Change } {
  const course = new Course();
  const start = 1_700_001_000; // half past, as in zones that are so
  course.load(resolution, [flat(start, 100)]);
  return { course, after: (hours) => course.follow(value(start + hours * LENGTH_S["1h"], 101)) };
}

test("a session of 25 hours is one bar to its end", () => {
  const { course, after } = oneBar("1d");
  for (const hours of [22.9, 23.9, 24, 24.5, 24.99]) after(hours);
  assert.equal(course.bars.length, 1);
});

test("only the bridge knows where a session ends, so it is asked at each time that may be it, once", () => {
  const { after } = oneBar("1d");
  assert.equal(after(22.99), "merged");
  for (const hours of [23, 23.25, 23.75, 24, 24.75]) {
    assert.equal(after(hours), "rolled");
    assert.equal(after(hours + 0.01), "merged");
  }
});

test("a session that has ended after 23 hours is followed by what the bridge says is next", () => {
  const { course, after } = oneBar("1d");
  assert.equal(after(23), "rolled");
  const [first] = course.bars;
  assert.ok(first);
  const next = first.time + 23 * LENGTH_S["1h"];
  course.load("1d", [first, flat(next, 101)]);
  assert.equal(course.follow(value(next + 1, 102)), "merged");
  assert.deepEqual(
    course.bars.map(({ time, last }) => [time, last]),
    [
      [first.time, 101],
      [next, 102],
    ],
  );
});

test("an hour may last half of one less or more", () => {
  const { course, after } = oneBar("1h");
  assert.equal(after(0.49), "merged");
  assert.equal(after(0.5), "rolled");
  assert.equal(after(1.49), "rolled");
  assert.equal(course.bars.length, 1);
});

test("what is surely later than the newest bar begins another, until the bridge says where that begins", () => {
  for (const [resolution, hours] of [
    ["1h", 1.5],
    ["1d", 25],
  ] as const) {
    const { course, after } = oneBar(resolution);
    assert.equal(after(hours), "rolled");
    assert.deepEqual(
      course.bars.map(({ time }) => time),
      [1_700_001_000, 1_700_001_000 + LENGTH_S[resolution]],
    );
  }
});

test("another resolution is asked about anew", () => {
  const { course, after } = oneBar("1d");
  assert.equal(after(23), "rolled");
  course.load("1h", [flat(1_700_001_000 + 22 * LENGTH_S["1h"], 101)]);
  assert.equal(after(23), "rolled");
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

const ZONES = ["UTC", "America/Los_Angeles", "America/New_York", "Asia/Kolkata", "Asia/Tokyo"];

/** What a reader in a zone would see; zones are read when a program starts, so each has one of its own. */
function inZone(zone: string, expression: string): unknown {
  const module = (path: string): string => JSON.stringify(new URL(path, import.meta.url).href);
  const modules = `import(${module("../chart/axis.js")}), import(${module("./labels.js")})`;
  const script = `Promise.all([${modules}]).then(([axis, { labelsOf }]) => console.log(JSON.stringify(${expression})))`;
  const env = { ...process.env, TZ: zone };
  return JSON.parse(execFileSync(process.execPath, ["--eval", script], { env, encoding: "utf8", timeout: 60_000 }));
}

test("the time axis is marked at round times, as closely as labels have room", () => {
  const noon = Date.UTC(2023, 10, 15, 12) / 1_000;
  const [few, more, wide, narrow, day] = inZone(
    "UTC",
    `[labelsOf("raw", ${noon + 17}, 4, 800), labelsOf("raw", ${noon + 17}, 45, 600), labelsOf("raw", ${noon + 17}, 400, 600),
      labelsOf("raw", ${noon + 17}, 400, 250), labelsOf("1m", ${noon - 43_200}, 1_440, 600)]`,
  ) as string[][];
  assert.deepEqual(few, ["12:00:17", "12:00:18", "12:00:19", "12:00:20"]);
  assert.deepEqual(more, ["12:00:20", "12:00:30", "12:00:40", "12:00:50", "12:01:00"]);
  assert.deepEqual(wide, ["12:01", "12:02", "12:03", "12:04", "12:05", "12:06"]);
  assert.deepEqual(narrow, ["12:05"]);
  assert.deepEqual(day, ["15 Nov", "06:00", "12:00", "18:00"]);
});

test("over weeks the axis tells Mondays, over months their first days, over years the years", () => {
  const monday = Date.UTC(2023, 10, 13) / 1_000;
  const [month, quarter, year] = inZone(
    "UTC",
    `[labelsOf("1h", ${monday}, 720, 500), labelsOf("1h", ${monday}, 2_160, 600), labelsOf("1d", ${monday}, 800, 600)]`,
  ) as string[][];
  assert.deepEqual(month, ["13 Nov", "20 Nov", "27 Nov", "4 Dec", "11 Dec"]);
  assert.deepEqual(quarter, ["20 Nov", "4 Dec", "18 Dec", "1 Jan", "15 Jan", "29 Jan"]);
  assert.deepEqual(year, ["Jan 2024", "Jul 2024", "Jan 2025", "Jul 2025", "Jan 2026"]);
});

test("a mark is as round for readers elsewhere, and where their clocks change", () => {
  const noon = Date.UTC(2023, 10, 15, 12) / 1_000;
  const back = Date.UTC(2023, 10, 5, 0) / 1_000; // six hours before two o'clock comes again in New York
  assert.deepEqual(inZone("Asia/Kolkata", `labelsOf("1m", ${noon}, 480, 480)`), [
    ...["18:00", "20:00", "22:00"],
    "16 Nov",
  ]);
  assert.deepEqual(inZone("America/New_York", `labelsOf("5m", ${back}, 216, 600)`), [
    ...["21:00", "5 Nov", "03:00", "06:00", "09:00", "12:00"],
  ]);
});

test("a session is told by its own date, wherever the reader is", () => {
  for (const zone of ZONES) {
    const start = 1_700_006_400; // 15 November, at midnight in UTC
    const told = inZone(zone, `[axis.timeLabel(${start}, "1d"), ...labelsOf("1d", ${start}, 3, 300)]`);
    assert.deepEqual(told, ["15 Nov 2023", "15 Nov", "16 Nov", "17 Nov"], zone);
  }
});
