/**
 * How many requests may be sent now: a bucket that fills with time, as the bridge keeps one for each socket. Pure.
 *
 * A client that asks faster than the bridge allows is closed (4429); one that waits its turn is not.
 */

import type { Policy } from "./policy.js";

export interface Pace {
  /** Requests that may be sent at once; a fraction counts towards the next. */
  readonly credit: number;
  /** When that was so, in milliseconds of a clock that does not step back. */
  readonly at: number;
}

/** The pace of a new socket. */
export function fullPace({ callsPerMinute }: Policy, now: number): Pace {
  return { credit: callsPerMinute, at: now };
}

/** The pace as of now. */
export function refill(pace: Pace, { callsPerMinute }: Policy, now: number): Pace {
  const earned = (Math.max(0, now - pace.at) * callsPerMinute) / 60_000;
  return { credit: Math.min(callsPerMinute, pace.credit + earned), at: now };
}

/** The pace after one request; only if there is credit for it. */
export function spend(pace: Pace): Pace {
  return { ...pace, credit: pace.credit - 1 };
}

/** How long until one request may be sent, in milliseconds; 0 if it may be sent now. */
export function dueIn(pace: Pace, { callsPerMinute }: Policy): number {
  return pace.credit >= 1 ? 0 : Math.ceil(((1 - pace.credit) * 60_000) / callsPerMinute);
}
