/** What the time axis says, in the reader's own zone. Pure. */

import type { Resolution } from "../../src/index.js";
import { clockTime, dayOf, minuteTime, momentOf, monthOf } from "../format.js";

/** What lightweight-charts calls a mark on the axis, from the coarsest to the finest. */
const YEAR = 0;
const MONTH = 1;
const DAY = 2;
const MINUTE = 3;

/**
 * The text at a mark.
 *
 * @param time Unix seconds.
 * @param kind What changes at the mark, as the library sees it.
 * @param resolution How long a bar lasts.
 */
export function tickLabel(time: number, kind: number, resolution: Resolution): string {
  const ms = time * 1_000;
  if (kind === YEAR || kind === MONTH) return resolution === "1d" && kind === YEAR ? monthOf(ms) : dayOf(ms);
  if (kind === DAY) return dayOf(ms);
  return kind === MINUTE ? minuteTime(ms) : clockTime(ms);
}

/** The text of one bar's time in full. */
export function timeLabel(time: number, resolution: Resolution): string {
  const ms = time * 1_000;
  return resolution === "raw" ? `${dayOf(ms)}, ${clockTime(ms)}` : momentOf(ms);
}
