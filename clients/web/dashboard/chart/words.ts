/** The chart in words: above it for everyone, and as a sentence for who cannot see it. Pure. */

import { formatCents, type Cents, type HistoryRange, type Resolution } from "../../src/index.js";
import { signedCents, signedShareOf } from "../format.js";
import { timeLabel } from "./axis.js";
import type { Bar } from "./course.js";

/** A range, spoken. */
export const SPOKEN: Readonly<Record<HistoryRange, string>> = {
  "1D": "today",
  "1W": "one week",
  "1M": "one month",
  "3M": "three months",
  "1Y": "one year",
  ALL: "since the beginning",
};

/** What is said of one bar: when, its value, and how that compares with the first. */
export interface Legend {
  readonly time: string;
  readonly value: string;
  readonly change: string;
}

/** The legend of a bar, by default of the newest; null if there are no bars. */
export function legendOf(bars: readonly Bar[], resolution: Resolution, hovered: Bar | null): Legend | null {
  const first = bars[0];
  const bar = hovered ?? bars.at(-1);
  if (first === undefined || bar === undefined) return null;
  return {
    time: timeLabel(bar.time, resolution),
    value: formatCents(bar.last as Cents),
    change: difference(first, bar),
  };
}

/** The whole chart in a sentence; empty if there are no bars. */
export function sentenceOf(bars: readonly Bar[], range: HistoryRange): string {
  const first = bars[0];
  const newest = bars.at(-1);
  if (first === undefined || newest === undefined) return "";
  const low = bars.reduce((least, bar) => Math.min(least, bar.low), Infinity) as Cents;
  const high = bars.reduce((most, bar) => Math.max(most, bar.high), -Infinity) as Cents;
  return (
    `Total equity, ${SPOKEN[range]}: from ${formatCents(first.open as Cents)} to ${formatCents(newest.last as Cents)}, ` +
    `${difference(first, newest)}; lowest ${formatCents(low)}, highest ${formatCents(high)}.`
  );
}

function difference(first: Bar, bar: Bar): string {
  const change = (bar.last - first.open) as Cents;
  const share = signedShareOf(change, first.open as Cents);
  return share === "" ? signedCents(change) : `${signedCents(change)} (${share})`;
}
