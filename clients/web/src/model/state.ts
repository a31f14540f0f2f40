/**
 * The connection of one account: the states it can be in, what happens to it, and what it wants done. Pure.
 *
 *     idle ─► connecting ─► authenticating ─► live ◄─► stale
 *               ▲  │              │             │        │
 *               │  └──────────────┴──► waiting ◄┴────────┘         any ─► closed, for good
 *               └─────────────────────────┘
 */

import type { EquityFrame, Frame } from "../wire/frames.js";
import type { AccountId, UnixMillis } from "../wire/numbers.js";

/** Why a socket was lost, or an attempt failed. */
export interface Loss {
  /** The close code; null if no socket was opened. */
  readonly code: number | null;
  readonly reason: string;
}

/** Why there will be no further attempt. */
export interface Ending extends Loss {
  /**
   * `asked`: by `close()`. `no_token`: `token()` gave null. `token_refused`: too often. `other_account`: a new token
   * was another account's. `refused`: the bridge closed with a code after which another attempt would end the same way.
   */
  readonly why: "asked" | "no_token" | "token_refused" | "other_account" | "refused";
}

/** What a person may be told. */
export type Status =
  | { readonly kind: "idle" }
  /** A token is fetched, the socket is opened. */
  | { readonly kind: "connecting" }
  /** The token is presented, then the account is subscribed to; until a first value, or news that EVS is away. */
  | { readonly kind: "authenticating"; readonly step: "auth" | "subscribe" | "value" }
  /** Values are fresh, however quiet the account. */
  | { readonly kind: "live" }
  /** The bridge cannot hear EVS since then: the last value stands. */
  | { readonly kind: "stale"; readonly since: UnixMillis }
  /** The connection is lost; another attempt is made after `delayMs`. */
  | { readonly kind: "waiting"; readonly delayMs: number; readonly loss: Loss }
  | { readonly kind: "closed"; readonly ending: Ending };

export interface State {
  readonly status: Status;
  /** Counts attempts. News of an earlier one comes too late and is ignored. */
  readonly generation: number;
  /** Attempts since the connection was last known to be good. */
  readonly attempt: number;
  /** Tokens refused in a row. */
  readonly refusals: number;
  /** The token to present once the socket is open; kept no longer than that. */
  readonly token: string | null;
  /** Whose connection this is; null until the first token was accepted. */
  readonly accountId: AccountId | null;
  /** The newest value ever seen, over all sockets. */
  readonly newest: EquityFrame | null;
  /** Whether a ping is out, and whether anything has come since. */
  readonly heartbeat: "resting" | "asked" | "heard";
}

export const IDLE: State = {
  status: { kind: "idle" },
  generation: 0,
  attempt: 0,
  refusals: 0,
  token: null,
  accountId: null,
  newest: null,
  heartbeat: "resting",
};

/** `handshake` bounds an attempt, `retry` ends a wait, `heartbeat` asks and judges, `refresh` fetches a token again. */
export const TIMERS = ["handshake", "retry", "heartbeat", "refresh"] as const;
export type Timer = (typeof TIMERS)[number];

/** What happened; what belongs to an attempt bears its generation. */
export type Event =
  | { readonly kind: "start" }
  | { readonly kind: "token"; readonly generation: number; readonly token: string | null }
  | { readonly kind: "token_failed"; readonly generation: number; readonly reason: string }
  | { readonly kind: "opened"; readonly generation: number }
  | { readonly kind: "frame"; readonly generation: number; readonly frame: Frame }
  | { readonly kind: "lost"; readonly generation: number; readonly code: number; readonly reason: string }
  | { readonly kind: "rang"; readonly timer: Timer }
  /** Look now: the network is back, the page is seen again. */
  | { readonly kind: "nudge" }
  | { readonly kind: "end" };

/** What is to be done, in order. */
export type Effect =
  | { readonly kind: "fetch_token"; readonly generation: number }
  | { readonly kind: "open"; readonly generation: number }
  | { readonly kind: "send"; readonly message: string }
  | { readonly kind: "disconnect"; readonly code: number; readonly reason: string }
  | { readonly kind: "set_timer"; readonly timer: Timer; readonly ms: number }
  | { readonly kind: "clear_timer"; readonly timer: Timer }
  | { readonly kind: "publish"; readonly equity: EquityFrame }
  /** The bridge broke the protocol; what it said was ignored. */
  | { readonly kind: "complain"; readonly problem: string };

export type Step = readonly [State, readonly Effect[]];

/** True once the bridge takes calls. */
export function isAuthenticated(state: State): boolean {
  return isFollowing(state) || (state.status.kind === "authenticating" && state.status.step === "subscribe");
}

/** True once the account is subscribed to. */
export function isFollowing({ status }: State): boolean {
  if (status.kind === "authenticating") return status.step === "value";
  return status.kind === "live" || status.kind === "stale";
}
