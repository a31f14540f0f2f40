/** The time axis as it would be drawn, if the chart left nothing out. */

import type { Resolution } from "../../src/index.js";
import { markAt, markLabel, stepFor } from "../chart/axis.js";
import { LENGTH_S } from "../chart/course.js";

/** The labels of so many bars on an axis of a width, the first of them at `first`, unix seconds. */
export function labelsOf(resolution: Resolution, first: number, count: number, width: number): string[] {
  const step = stepFor(count, resolution, width);
  const times = Array.from({ length: count }, (_, index) => first + index * LENGTH_S[resolution]);
  const labels = times.map((time, index) => markLabel(markAt(step, resolution, times[index - 1] ?? null, time), time));
  return labels.filter((label) => label !== "");
}
