/**
 * The bars of the equity chart: history as the bridge answered it, grown by each live value. Pure.
 *
 * Lives here: which bar a value belongs to. Not here: how a bar is drawn (`plot`), when history is asked for
 * (`history`). Times are unix seconds, strictly ascending and unique, as a chart library wants them; money is cents.
 */

import type { Resolution } from "../../src/index.js";

/** What one stretch of time looked like, in cents. */
export interface Bar {
  /** When it begins, unix seconds. */
  readonly time: number;
  readonly open: number;
  readonly high: number;
  readonly low: number;
  readonly last: number;
}

/** One valuation, as far as a chart cares. */
export interface Value {
  /** When it was made, unix seconds. */
  readonly timestamp: number;
  /** Cents. */
  readonly total_equity: number;
}

/**
 * What a value did to the bars.
 *
 * `older`: it belongs before the newest bar, which knows better. `merged`: the newest bar has changed. `grown`: bars were
 * added. `rolled`: the one or the other, but only the bridge knows whether it should be: the value may be the first of a
 * bar that begins when the clocks of the exchange say so. `behind`: too much time lies between to fill in here. After the
 * last two, history should be asked for again.
 */
export type Change = "older" | "merged" | "grown" | "rolled" | "behind";

/** The most bars that are kept; beyond, coarser history is due. */
export const BARS_MAX = 5_000;

/** How long a bar lasts, in seconds, if the exchange's clocks do not change meanwhile. */
export const LENGTH_S: Readonly<Record<Resolution, number>> = {
  raw: 1,
  "1m": 60,
  "5m": 300,
  "1h": 3_600,
  "1d": 86_400,
};

/**
 * How far an hour or a session may be shorter or longer when clocks change: a session by an hour, an hour by half of one,
 * where clocks change by that.
 */
const CHANGE_S: Readonly<Record<Resolution, number>> = { raw: 0, "1m": 0, "5m": 0, "1h": 1_800, "1d": 3_600 };

/** No zone of today changes its clocks by less. */
const QUARTER_S = 900;

/** The bars on show. */
export class Course {
  #resolution: Resolution = "1m";
  #bars: Bar[] = [];
  /** The last time at which the newest bar may have ended that history has been wanted for, unix seconds. */
  #wantedAt = -Infinity;

  /** Oldest first. */
  get bars(): readonly Bar[] {
    return this.#bars;
  }

  /** How long each bar lasts. */
  get resolution(): Resolution {
    return this.#resolution;
  }

  /** Start again from history, which is ascending and unique. */
  load(resolution: Resolution, points: readonly Bar[]): void {
    if (resolution !== this.#resolution) this.#wantedAt = -Infinity;
    this.#resolution = resolution;
    this.#bars = points.map(({ time, open, high, low, last }) => ({ time, open, high, low, last }));
  }

  /** Take a live value into the bar that it belongs to. */
  follow(value: Value): Change {
    const newest = this.#bars.at(-1);
    const length = LENGTH_S[this.#resolution];
    if (newest === undefined) {
      this.#bars.push(flat(value.timestamp - (value.timestamp % length), value.total_equity));
      return this.#grownOrRolled();
    }
    if (value.timestamp < newest.time) return "older";
    const elapsed = value.timestamp - newest.time;
    // While it may last, the newest bar takes what comes: one that is begun too early would stand there wrongly.
    if (elapsed < length + CHANGE_S[this.#resolution]) {
      this.#bars[this.#bars.length - 1] = widened(newest, value.total_equity);
      return this.#mayHaveEnded(newest, elapsed) ? "rolled" : "merged";
    }
    const steps = Math.floor(elapsed / length);
    if (this.#bars.length + steps > BARS_MAX) return "behind";
    for (let step = 1; step < steps; step += 1) this.#bars.push(flat(newest.time + step * length, newest.last));
    this.#bars.push(flat(newest.time + steps * length, value.total_equity));
    return this.#grownOrRolled();
  }

  #grownOrRolled(): Change {
    return CHANGE_S[this.#resolution] > 0 ? "rolled" : "grown";
  }

  /** Whether a bar may have ended since that was said last. */
  #mayHaveEnded(bar: Bar, elapsed: number): boolean {
    const end = bar.time + elapsed - (elapsed % QUARTER_S);
    if (elapsed < LENGTH_S[this.#resolution] - CHANGE_S[this.#resolution] || end <= this.#wantedAt) return false;
    this.#wantedAt = end;
    return true;
  }
}

function flat(time: number, cents: number): Bar {
  return { time, open: cents, high: cents, low: cents, last: cents };
}

function widened(bar: Bar, cents: number): Bar {
  return { ...bar, high: Math.max(bar.high, cents), low: Math.min(bar.low, cents), last: cents };
}
