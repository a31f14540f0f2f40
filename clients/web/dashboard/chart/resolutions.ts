/**
 * How fine the chart of a range is. Pure.
 *
 * The contract has a resolution for each range that suits a full one. An account that is younger than the range would
 * then show a handful of points, or one: so a finer resolution is asked for as long as its points fit on one page.
 */

import type { HistoryRange, Resolution } from "../../src/index.js";
import { LENGTH_S } from "./course.js";

/** Points of one page of history, and as many as are worth drawing. */
export const POINTS_MAX = 2_500;

/** The resolution that suits a full range. */
export const USUAL: Readonly<Record<HistoryRange, Resolution>> = {
  "1D": "1m",
  "1W": "5m",
  "1M": "1h",
  "3M": "1h",
  "1Y": "1d",
  ALL: "1d",
};

const FINEST_FIRST: readonly Resolution[] = ["raw", "1m", "5m", "1h", "1d"];

/**
 * The finest resolution that shows the same stretch of time within `POINTS_MAX` points.
 *
 * @param resolution What history was answered in, gaps filled.
 * @param count How many points it had.
 */
export function finestFor(resolution: Resolution, count: number): Resolution {
  if (count === 0) return resolution;
  const seconds = count * LENGTH_S[resolution];
  return FINEST_FIRST.find((finer) => finer === resolution || seconds / LENGTH_S[finer] <= POINTS_MAX) ?? resolution;
}
