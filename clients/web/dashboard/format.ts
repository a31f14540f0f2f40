/**
 * What the page adds to the client's formats: signs, directions, times and ages as people read them. Pure.
 */

import { formatCents, formatPercent, type Cents, type Percent } from "../src/index.js";

const SECOND_MS = 1_000;
const MINUTE_MS = 60 * SECOND_MS;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;

/** Which way a number points; what is coloured by it also says it in words or with a sign. */
export type Direction = "up" | "down" | "flat";

/** The direction of an amount or a change. */
export function directionOf(amount: number): Direction {
  if (amount > 0) return "up";
  return amount < 0 ? "down" : "flat";
}

/** Cents as dollars, with a plus if positive: for what is a change, a profit or a loss. */
export function signedCents(cents: Cents): string {
  return formatCents(cents, { signed: true });
}

/** A percentage of up to four decimals, with its sign. */
export function signedPercent(percent: Percent): string {
  return formatPercent(percent, { signed: true });
}

/**
 * `part` as a signed percentage of the size of `whole`; empty if there is nothing to compare with.
 *
 * Rounded half to even to four decimals, as the server does with its own: the same amounts never show two percentages.
 */
export function signedShareOf(part: Cents, whole: Cents): string {
  if (whole === 0) return "";
  // Cents times a million may be beyond what a number holds exactly.
  const [size, divisor] = [BigInt(Math.abs(part)) * 1_000_000n, BigInt(Math.abs(whole))];
  const [quotient, doubled] = [size / divisor, 2n * (size % divisor)];
  const isUp = doubled > divisor || (doubled === divisor && quotient % 2n === 1n);
  const tenThousandths = Number(isUp ? quotient + 1n : quotient);
  return signedPercent((Math.sign(part) * (tenThousandths / 10_000)) as Percent);
}

/** How long ago something was, in the largest unit that fits: `now`, `5 s`, `3 min`, `2 h`, `4 d`. */
export function age(elapsedMs: number): string {
  if (elapsedMs < SECOND_MS) return "now";
  if (elapsedMs < MINUTE_MS) return `${whole(elapsedMs, SECOND_MS)} s`;
  if (elapsedMs < HOUR_MS) return `${whole(elapsedMs, MINUTE_MS)} min`;
  if (elapsedMs < 2 * DAY_MS) return `${whole(elapsedMs, HOUR_MS)} h`;
  return `${whole(elapsedMs, DAY_MS)} d`;
}

/** As `age`, as a phrase: `just now`, `5 s ago`. */
export function ago(elapsedMs: number): string {
  return elapsedMs < SECOND_MS ? "just now" : `${age(elapsedMs)} ago`;
}

/** Time of day to the second, in the reader's zone. */
export function clockTime(unixMs: number): string {
  return CLOCK.format(unixMs);
}

/** Hours and minutes, in the reader's zone. */
export function minuteTime(unixMs: number): string {
  return MINUTE.format(unixMs);
}

/** Day and month, in the reader's zone. */
export function dayOf(unixMs: number): string {
  return DAY.format(unixMs);
}

/** Day, month and year, in the reader's zone. */
export function dateOf(unixMs: number): string {
  return FULL_DAY.format(unixMs);
}

/** Month and year, in the reader's zone. */
export function monthOf(unixMs: number): string {
  return MONTH.format(unixMs);
}

/** Day, month, year, hours and minutes, in the reader's zone. */
export function momentOf(unixMs: number): string {
  return `${dateOf(unixMs)}, ${minuteTime(unixMs)}`;
}

/** A count with separators. */
export function count(number: number): string {
  return COUNT.format(number);
}

const COUNT = new Intl.NumberFormat("en-US");
const CLOCK = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const MINUTE = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });
const DAY = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });
const MONTH = new Intl.DateTimeFormat("en-GB", { month: "short", year: "numeric" });
const FULL_DAY = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric" });

function whole(elapsed: number, unit: number): number {
  return Math.floor(elapsed / unit);
}
