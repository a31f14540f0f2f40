/**
 * Where the time axis has marks, and what it says there, in the reader's own zone. Pure, but for the zone.
 *
 * Marks stand at round times of the reader's clock, at the finest step that has room for its labels: a bar is marked if
 * it is the first since such a time. A session is a day wherever it begins: its bar stands for the date of its middle,
 * which is the exchange's date within twelve zones either way.
 */

import type { Resolution } from "../../src/index.js";
import { clockTime, dateOf, dayOf, minuteTime, momentOf, monthOf } from "../format.js";
import { LENGTH_S } from "./course.js";

const MINUTE_S = 60;
const HOUR_S = 3_600;
const DAY_S = 86_400;
const HALF_SESSION_S = 43_200;

/** From one label to the next, at least: at the chart's size of letters the library leaves out what is within 75. */
const LABEL_PX = 80;

/** What is said at a bar; of two that have no room beside each other the larger stays. */
export const MARK = { NONE: 0, SECOND: 1, MINUTE: 2, DAY: 3, MONTH: 4 } as const;

export type Mark = (typeof MARK)[keyof typeof MARK];

/** From one mark to the next. */
export interface Step {
  /** How long the shortest is. */
  readonly seconds: number;
  readonly mark: Mark;
  /** How many of them lie before a time; `local` is what the reader's clock shows then, in fields of UTC. */
  readonly countTo: (local: Date) => number;
}

const COARSEST = monthStep(12, 365);

/** Finest first. */
const STEPS: readonly Step[] = [
  ...[1, 2, 5, 10, 15, 30].map((seconds) => clockStep(seconds, MARK.SECOND)),
  ...[1, 2, 5, 10, 15, 30].map((minutes) => clockStep(minutes * MINUTE_S, MARK.MINUTE)),
  ...[1, 2, 3, 6, 12].map((hours) => clockStep(hours * HOUR_S, MARK.MINUTE)),
  ...[1, 2, 7, 14].map(dayStep),
  monthStep(1, 28),
  monthStep(3, 90),
  monthStep(6, 181),
  COARSEST,
];

/**
 * How far apart marks stand: as near as there is room for, but no nearer than bars.
 *
 * @param count How many bars there are.
 * @param resolution How long each lasts.
 * @param width The axis's, in pixels.
 */
export function stepFor(count: number, resolution: Resolution, width: number): Step {
  const length = LENGTH_S[resolution];
  const room = (step: Step): number => (width * step.seconds) / (count * length);
  return STEPS.find((step) => step.seconds >= length && room(step) >= LABEL_PX) ?? COARSEST;
}

/**
 * What is said at a bar.
 *
 * @param step From one mark to the next.
 * @param resolution How long a bar lasts.
 * @param before When the bar before begins, unix seconds; null if there is none.
 * @param time When the bar begins, unix seconds.
 */
export function markAt(step: Step, resolution: Resolution, before: number | null, time: number): Mark {
  const shift = resolution === "1d" ? HALF_SESSION_S : 0;
  const from = localAt((before ?? time - LENGTH_S[resolution]) + shift);
  const to = localAt(time + shift);
  if (step.countTo(from) === step.countTo(to)) return MARK.NONE;
  return step.mark < MARK.DAY && from.getUTCDate() !== to.getUTCDate() ? MARK.DAY : step.mark;
}

/** The text at a mark; `time` is when its bar begins, unix seconds. */
export function markLabel(mark: Mark, time: number): string {
  const ms = time * 1_000;
  switch (mark) {
    case MARK.NONE:
      return "";
    case MARK.SECOND:
      return clockTime(ms);
    case MARK.MINUTE:
      return minuteTime(ms);
    // The first bar of a day is nowhere near its end: half a day later it is the same day, and a session's own.
    case MARK.DAY:
      return dayOf(ms + HALF_SESSION_S * 1_000);
    case MARK.MONTH:
      return monthOf(ms + HALF_SESSION_S * 1_000);
  }
}

/** The text of one bar's time in full; `time` is unix seconds. */
export function timeLabel(time: number, resolution: Resolution): string {
  const ms = time * 1_000;
  if (resolution === "1d") return dateOf(ms + HALF_SESSION_S * 1_000);
  return resolution === "raw" ? `${dayOf(ms)}, ${clockTime(ms)}` : momentOf(ms);
}

/** Whole seconds, minutes or hours, counted from midnight: a day has a whole number of them. */
function clockStep(seconds: number, mark: Mark): Step {
  return { seconds, mark, countTo: (local) => Math.floor(local.getTime() / (seconds * 1_000)) };
}

/** Whole days, counted from a Monday. */
function dayStep(days: number): Step {
  const daysFromMonday = 3; // to the first of January 1970
  const countTo = (local: Date): number => Math.floor((local.getTime() / (DAY_S * 1_000) + daysFromMonday) / days);
  return { seconds: days * DAY_S, mark: MARK.DAY, countTo };
}

/** Whole months, counted from January. */
function monthStep(months: number, shortestDays: number): Step {
  const countTo = (local: Date): number => Math.floor((local.getUTCFullYear() * 12 + local.getUTCMonth()) / months);
  return { seconds: shortestDays * DAY_S, mark: MARK.MONTH, countTo };
}

/** What the reader's clock shows at a time, in fields of UTC. */
function localAt(time: number): Date {
  const date = new Date(time * 1_000);
  date.setTime(date.getTime() - date.getTimezoneOffset() * MINUTE_S * 1_000);
  return date;
}
