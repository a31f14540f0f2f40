/** The account in a few figures. Pure. */

import { formatCents, type Cents, type EquityFrame } from "../../src/index.js";
import { directionOf, signedCents, signedPercent, type Direction } from "../format.js";

/** An amount: as it is shown, and exactly. */
export interface Amount {
  readonly cents: Cents;
  readonly text: string;
  readonly direction: Direction;
}

/** What the account is worth at one version. */
export interface Overview {
  readonly version: number;
  readonly equity: Amount;
  readonly dayChange: Amount;
  /** The day's change in percent; empty while there is nothing to compare with. */
  readonly dayPercent: string;
  readonly cash: Amount;
  readonly positionValue: Amount;
  readonly unrealized: Amount;
  readonly realized: Amount;
}

/** An amount that is there, and is neither good nor bad: a short position is worth less than nothing by its nature. */
export function holding(cents: Cents): Amount {
  return { cents, text: formatCents(cents), direction: "flat" };
}

/** An amount that is there and should not be below zero. */
export function balance(cents: Cents): Amount {
  return { ...holding(cents), direction: cents < 0 ? "down" : "flat" };
}

/** An amount won or lost. */
export function gain(cents: Cents): Amount {
  return { cents, text: signedCents(cents), direction: directionOf(cents) };
}

/** The figures of a frame. */
export function overviewOf(frame: EquityFrame): Overview {
  const { data } = frame;
  return {
    version: frame.version,
    equity: balance(data.total_equity),
    dayChange: gain(data.day_change),
    dayPercent: frame.flags.includes("NO_BASE") ? "" : signedPercent(data.day_change_percent),
    cash: balance(data.cash_balance),
    positionValue: holding(data.position_value),
    unrealized: gain(data.unrealized_pnl),
    realized: gain(data.realized_pnl),
  };
}
