/**
 * Numbers as people read them: exact, in digits, never through a fraction of a dollar. Pure.
 *
 * The minus is the sign "−", as wide as "+" and read out as a minus. US English; other languages bring their own.
 */

import type { BasisPoints, Cents, Percent } from "./wire/numbers.js";

const MINUS = "\u2212";

export interface Signed {
  /** Show the plus of what is above zero too. */
  readonly signed?: boolean;
}

/** `−$1,234.56` for −123456. */
export function formatCents(cents: Cents, { signed = false }: Signed = {}): string {
  const digits = String(Math.abs(cents)).padStart(3, "0");
  return `${sign(cents, signed)}$${grouped(digits.slice(0, -2))}.${digits.slice(-2)}`;
}

/** Shares, with as many decimals as it takes: `12.5` for 125000. */
export function formatShares(quantity: BasisPoints): string {
  const digits = String(Math.abs(quantity)).padStart(5, "0");
  const rest = digits.slice(-4).replace(/0+$/, "");
  return `${sign(quantity, false)}${grouped(digits.slice(0, -4))}${rest === "" ? "" : `.${rest}`}`;
}

/** `+1.25%`, rounded to two decimals; what rounds to zero has no sign. */
export function formatPercent(percent: Percent, { signed = false }: Signed = {}): string {
  const [units = "0", decimals = "00"] = Math.abs(percent).toFixed(2).split(".");
  const shown = Number(`${units}.${decimals}`) === 0 ? 0 : percent;
  return `${sign(shown, signed)}${grouped(units)}.${decimals}%`;
}

function sign(value: number, signed: boolean): string {
  if (value < 0) return MINUS;
  return signed && value > 0 ? "+" : "";
}

function grouped(digits: string): string {
  return digits.replace(/\B(?=(\d{3})+$)/g, ",");
}
