/** Asks for the history of a range, as finely as fits. */

import type { Client, EquityPoint, HistoryRange, Resolution } from "../../src/index.js";
import { BARS_MAX } from "./course.js";
import { POINTS_MAX, USUAL, finestFor } from "./resolutions.js";

/** Points of a range, without gaps. */
export interface History {
  readonly resolution: Resolution;
  readonly points: readonly EquityPoint[];
}

/** The history of a range that ends now; an EvsError if the bridge does not answer it. */
export async function loadHistory(client: Client, range: HistoryRange): Promise<History> {
  let resolution = USUAL[range];
  let points = await loadPoints(client, range, resolution);
  // A finer answer may show that a yet finer one fits: an hour within one day, a minute within that hour.
  for (let finer = finestFor(resolution, points.length); finer !== resolution;) {
    points = await loadPoints(client, range, finer);
    resolution = finer;
    finer = finestFor(resolution, points.length);
  }
  return { resolution, points };
}

async function loadPoints(client: Client, range: HistoryRange, resolution: Resolution): Promise<EquityPoint[]> {
  const points: EquityPoint[] = [];
  for await (const page of client.historyPages({ range, resolution, fill: true, limit: POINTS_MAX })) {
    points.push(...page.points);
  }
  // Pages begin with the oldest; of more than can be shown the newest matter.
  return points.slice(-BARS_MAX);
}
