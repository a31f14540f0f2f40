/** How long the client waits, and how much it asks: every bound of it, with its reason. Pure. */

export interface Policy {
  /** How long `token()` may take; a person may have to type it. */
  readonly tokenMs: number;
  /** From opening the socket until it is subscribed. Above the bridge's own 5 s, so that its close code is heard. */
  readonly handshakeMs: number;
  /** A ping after this long; browsers do not show the protocol's own. */
  readonly pingMs: number;
  /** How long nothing at all may come after a ping. Long enough for one big answer over a poor line. */
  readonly pongMs: number;
  /** How long a call may take, with any wait for the connection. */
  readonly callMs: number;
  /** The first wait before another attempt is below this; it doubles from attempt to attempt. */
  readonly retryBaseMs: number;
  /** No wait is longer than this, but the bridge asked for it. */
  readonly retryMaxMs: number;
  /** How soon a token that could not be had is asked for again, while the old one is in its grace. */
  readonly refreshMs: number;
  /** Tokens refused in a row after which there is no further attempt. */
  readonly refusalsMax: number;
  /** Calls that may wait at a time; one more is refused at once. */
  readonly callsMax: number;
  /** Calls sent and not answered at a time; the bridge reads no further ahead. */
  readonly inFlightMax: number;
  /** Calls a minute, and at once. Below the bridge's 100, which end the socket: some are for our own requests. */
  readonly callsPerMinute: number;
}

export const DEFAULT_POLICY: Policy = {
  tokenMs: 30_000,
  handshakeMs: 15_000,
  pingMs: 15_000,
  pongMs: 10_000,
  callMs: 15_000,
  retryBaseMs: 500,
  retryMaxMs: 30_000,
  refreshMs: 2_000,
  refusalsMax: 3,
  callsMax: 256,
  inFlightMax: 4,
  callsPerMinute: 80,
};

/** From 0 up to, not including, 1. */
export type Random = () => number;

/**
 * How long to wait before another attempt, in milliseconds: anywhere below a bound that doubles (full jitter), so that
 * the browsers which a restart has thrown out together do not come back together.
 */
export function retryDelay(attempt: number, { retryBaseMs, retryMaxMs }: Policy, random: Random): number {
  return Math.floor(random() * Math.min(retryMaxMs, retryBaseMs * 2 ** attempt));
}
