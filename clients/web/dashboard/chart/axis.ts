/**
 * What the time axis says, in the reader's own zone. Pure, but for the zone.
 *
 * The chart library knows no zone but UTC, and puts its marks where UTC's days and hours begin. So it is given times on
 * an axis of our own, moved by one offset for all bars (two offsets, where clocks change, could make a time come twice):
 * its days are then the reader's. A session is a day wherever it begins: its bar stands for the date of its middle, which
 * is the exchange's date within twelve zones either way.
 */

import type { Resolution } from "../../src/index.js";
import { clockTime, dateOf, dayOf, minuteTime, momentOf, utcDayOf, utcMonthOf } from "../format.js";

/** What lightweight-charts calls a mark on the axis, from the coarsest to the finest. */
const YEAR = 0;
const DAY = 2;
const MINUTE = 3;

const MINUTE_S = 60;
const HALF_SESSION_S = 43_200;

/**
 * From unix seconds to seconds of the axis.
 *
 * @param time Unix seconds of the newest bar.
 * @param resolution How long a bar lasts.
 */
export function axisOffset(time: number, resolution: Resolution): number {
  const zone = -new Date(time * 1_000).getTimezoneOffset() * MINUTE_S;
  return resolution === "1d" ? zone + HALF_SESSION_S : zone;
}

/**
 * The text at a mark.
 *
 * @param axisTime Seconds of the axis.
 * @param kind What changes at the mark, as the library sees it.
 * @param resolution How long a bar lasts.
 * @param offset The axis's offset.
 */
export function tickLabel(axisTime: number, kind: number, resolution: Resolution, offset: number): string {
  if (kind === YEAR && resolution === "1d") return utcMonthOf(axisTime * 1_000);
  if (kind <= DAY) return utcDayOf(axisTime * 1_000);
  const ms = (axisTime - offset) * 1_000;
  return kind === MINUTE ? minuteTime(ms) : clockTime(ms);
}

/** The text of one bar's time in full; `time` is unix seconds. */
export function timeLabel(time: number, resolution: Resolution): string {
  const ms = time * 1_000;
  if (resolution === "1d") return dateOf(ms + HALF_SESSION_S * 1_000);
  return resolution === "raw" ? `${dayOf(ms)}, ${clockTime(ms)}` : momentOf(ms);
}
