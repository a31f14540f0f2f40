/**
 * The table of positions: one line each, and their totals. Pure.
 *
 * The totals are sums of what was listed, in cents, closed positions included: with the version of an equity frame they
 * are that frame's position value, unrealized and realized P&L, to the cent.
 */

import { formatCents, formatShares, type Cents, type Position, type Positions } from "../../src/index.js";
import { age, clockTime, signedShareOf } from "../format.js";
import { gain, holding, type Amount } from "./overview.js";

/** One position. */
export interface Line {
  readonly key: number;
  readonly name: string;
  readonly kind: "long" | "short" | "closed";
  readonly quantity: string;
  readonly averageCost: string;
  readonly price: string;
  /** Where the price comes from and how old it is. */
  readonly priceNote: string;
  readonly value: Amount;
  readonly unrealized: Amount;
  /** Unrealized as a share of what the position cost. */
  readonly unrealizedPercent: string;
  readonly realized: Amount;
}

/** All of them, at one version. */
export interface Holdings {
  readonly version: number;
  /** Time of day of the answer. */
  readonly asOf: string;
  readonly lines: readonly Line[];
  readonly openCount: number;
  readonly closedCount: number;
  readonly value: Amount;
  readonly unrealized: Amount;
  readonly realized: Amount;
}

/**
 * What to show of an account's positions.
 *
 * @param positions As the bridge listed them.
 * @param names Names of symbols by their ids; a symbol without one is shown by its number.
 * @param answeredMs When they were answered, unix milliseconds.
 * @param nowMs Unix milliseconds, to tell the age of prices.
 */
export function holdingsOf(
  positions: Positions,
  names: ReadonlyMap<number, string>,
  answeredMs: number,
  nowMs: number,
): Holdings {
  const held = positions.positions;
  const lines = held.map((position) => lineOf(position, names, nowMs));
  const openCount = lines.filter(({ kind }) => kind !== "closed").length;
  return {
    version: positions.version,
    asOf: clockTime(answeredMs),
    lines,
    openCount,
    closedCount: lines.length - openCount,
    value: holding(sum(held, ({ market_value }) => market_value)),
    unrealized: gain(sum(held, ({ unrealized_pnl }) => unrealized_pnl)),
    realized: gain(sum(held, ({ realized_pnl }) => realized_pnl)),
  };
}

function lineOf(position: Position, names: ReadonlyMap<number, string>, nowMs: number): Line {
  const closed = position.quantity_bp === 0;
  return {
    key: position.symbol_id,
    name: names.get(position.symbol_id) ?? `#${position.symbol_id}`,
    kind: closed ? "closed" : position.quantity_bp < 0 ? "short" : "long",
    quantity: formatShares(position.quantity_bp),
    averageCost: closed ? "" : formatCents(position.avg_cost),
    price: position.mark_price === 0 ? "" : formatCents(position.mark_price),
    priceNote: priceNote(position, nowMs),
    value: holding(position.market_value),
    unrealized: gain(position.unrealized_pnl),
    unrealizedPercent: signedShareOf(position.unrealized_pnl, position.basis_cents),
    realized: gain(position.realized_pnl),
  };
}

function priceNote(position: Position, nowMs: number): string {
  if (position.mark_source === "COST") return position.mark_price === 0 ? "" : "at cost";
  const source = position.mark_source === "LAST_TRADE" ? "last trade" : "mark";
  return `${source}, ${age(Math.max(0, nowMs - position.mark_time))}`;
}

function sum(held: readonly Position[], cents: (position: Position) => Cents): Cents {
  return held.reduce((total, position) => total + cents(position), 0) as Cents;
}
