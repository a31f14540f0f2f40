/** What the account has made over the range of the chart, in a few figures. Pure. */

import { formatCents, type EquityFrame, type Percent, type Performance } from "../../src/index.js";
import { clockTime, directionOf, momentOf, signedCents, signedPercent, type Direction } from "../format.js";

/** One figure. */
export interface Figure {
  readonly key: "return" | "profit" | "flow" | "drawdown" | "high";
  readonly label: string;
  readonly text: string;
  /** What belongs to it in small print; empty if nothing does. */
  readonly note: string;
  readonly direction: Direction;
}

/**
 * The figures of an answer.
 *
 * @param today The newest value, if the range is the present session: its day change is that session's profit and return,
 *   and is known at once. Null for any other range: its figures say how old they are, beside values that move on.
 */
export function figuresOf(performance: Performance, today: EquityFrame | null): readonly Figure[] {
  const { net_flow, max_drawdown_percent: fall } = performance;
  const newer = today !== null && today.version > performance.version && !today.flags.includes("NO_BASE");
  const made = newer ? today.data.day_change_percent : performance.time_weighted_return_percent;
  const profit = newer ? today.data.day_change : performance.profit;
  const asOf = today === null ? `as of ${clockTime(performance.end * 1_000)}` : "";
  return [
    {
      key: "return",
      label: "Time-weighted return",
      text: signedPercent(made),
      note: asOf,
      direction: directionOf(made),
    },
    { key: "profit", label: "Profit", text: signedCents(profit), note: "", direction: directionOf(profit) },
    { key: "flow", label: "Net deposits", text: signedCents(net_flow), note: "", direction: "flat" },
    {
      key: "drawdown",
      label: "Max drawdown",
      text: signedPercent(fall),
      note: standing(performance.drawdown_percent),
      direction: directionOf(fall),
    },
    {
      key: "high",
      label: "High-water mark",
      text: formatCents(performance.high_water_mark),
      note: momentOf(performance.high_water_time * 1_000),
      direction: "flat",
    },
  ];
}

function standing(drawdown: Percent): string {
  return drawdown < 0 ? `now ${signedPercent(drawdown)}` : "now at its high";
}
