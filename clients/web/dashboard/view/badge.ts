/** The badge: how the connection stands and how fresh the numbers are. Pure. */

import { CloseCode, type Ending, type Status } from "../../src/index.js";
import { ago, clockTime } from "../format.js";

/** What is shown. */
export interface Badge {
  readonly kind: "signed-out" | "connecting" | "live" | "stale" | "reconnecting" | "expired" | "closed";
  /** A word or two; read out when it changes. */
  readonly label: string;
  /** What it means and what to do about it, where that is not plain; empty otherwise. */
  readonly advice: string;
  /** True if the numbers on show may be old. */
  readonly dimmed: boolean;
}

/** The badge of a page that follows nobody. */
export const SIGNED_OUT: Badge = { kind: "signed-out", label: "Signed out", advice: "", dimmed: true };

/**
 * The badge of a connection.
 *
 * @param status How it stands.
 * @param lostMs Since when it has not been well, unix milliseconds; null if it never was.
 */
export function badgeOf(status: Status, lostMs: number | null): Badge {
  switch (status.kind) {
    case "live":
      return { kind: "live", label: "Live", advice: "", dimmed: false };
    case "stale":
      return {
        kind: "stale",
        label: `Stale since ${clockTime(status.since)}`,
        advice:
          "The valuation service cannot be reached. The last values stand, and go on by themselves when it is back.",
        dimmed: true,
      };
    case "closed":
      return badgeOfEnding(status.ending, lostMs !== null);
    case "idle":
    case "connecting":
    case "authenticating":
    case "waiting":
      return lostMs === null ? connecting(status) : reconnecting(lostMs);
  }
}

/** How old the value on show is, as a phrase; empty before the first one. */
export function freshnessOf(valuedMs: number | null, nowMs: number): string {
  return valuedMs === null ? "" : `Updated ${ago(Math.max(0, nowMs - valuedMs))}`;
}

/** What a person who must sign in again is told. */
export function signInReason(ending: Ending, wasIn: boolean): string {
  switch (ending.why) {
    case "no_token":
    case "token_refused":
      return wasIn
        ? "Your session has expired. Paste a new token to go on."
        : "This token was not accepted: it may have expired, or be of another system. Paste a new one.";
    case "other_account":
      return OTHER_ACCOUNT;
    case "refused":
      return refusedAdvice(ending.code, ending.reason);
    case "asked":
      return "";
  }
}

const OTHER_ACCOUNT = "That token is of another account. Sign in again to look at that one instead.";

function connecting(status: Status): Badge {
  const advice = status.kind === "waiting" ? "The server cannot be reached. It is being tried again." : "";
  return { kind: "connecting", label: "Connecting", advice, dimmed: true };
}

function reconnecting(lostMs: number): Badge {
  return {
    kind: "reconnecting",
    label: `Reconnecting since ${clockTime(lostMs)}`,
    advice: "The connection was lost and is being tried again. The last values stand.",
    dimmed: true,
  };
}

function badgeOfEnding(ending: Ending, wasIn: boolean): Badge {
  const advice = signInReason(ending, wasIn);
  if (ending.why === "no_token" || ending.why === "token_refused") {
    return { kind: "expired", label: wasIn ? "Session expired" : "Token not accepted", advice, dimmed: true };
  }
  return { kind: "closed", label: "Disconnected", advice, dimmed: true };
}

function refusedAdvice(code: number | null, reason: string): string {
  switch (code) {
    case CloseCode.FORBIDDEN:
      return OTHER_ACCOUNT;
    case CloseCode.NOT_FOUND:
      return "The exchange has no such account. Check which account the token is for.";
    case CloseCode.TOO_MANY_CONNECTIONS:
      return "This account is open in too many windows. Close one of them, then reload this page.";
    default:
      return `The server ended the connection (${code ?? "no code"}${reason === "" ? "" : `: ${reason}`}). Reload the page to try again.`;
  }
}
