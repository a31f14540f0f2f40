/** Why a socket was closed, and whether it is worth coming back (PROTOCOL, "Close codes"). Pure. */

export const CloseCode = {
  GOING_AWAY: 1001,
  PROTOCOL_ERROR: 1002,
  UNSUPPORTED_DATA: 1003,
  LOST: 1006,
  INVALID_TEXT: 1007,
  POLICY_VIOLATION: 1008,
  MESSAGE_TOO_BIG: 1009,
  INTERNAL_ERROR: 1011,
  RESTART: 1012,
  TRY_AGAIN_LATER: 1013,
  /** Ours: the bridge was not heard in time. */
  HEARTBEAT: 4000,
  BAD_REQUEST: 4400,
  UNAUTHENTICATED: 4401,
  FORBIDDEN: 4403,
  NOT_FOUND: 4404,
  NO_AUTH: 4408,
  TOO_MANY_CONNECTIONS: 4410,
  RATE_LIMITED: 4429,
  SLOW: 4508,
} as const;

export type CloseCode = (typeof CloseCode)[keyof typeof CloseCode];

const FINAL: ReadonlySet<number> = new Set([
  CloseCode.PROTOCOL_ERROR,
  CloseCode.UNSUPPORTED_DATA,
  CloseCode.INVALID_TEXT,
  CloseCode.POLICY_VIOLATION,
  CloseCode.MESSAGE_TOO_BIG,
  CloseCode.BAD_REQUEST,
  CloseCode.FORBIDDEN,
  CloseCode.NOT_FOUND,
  CloseCode.NO_AUTH,
  CloseCode.TOO_MANY_CONNECTIONS,
]);

/**
 * False if the same attempt would only end the same way.
 *
 * A code that nobody has told us of is worth another attempt: proxies have codes of their own, and waits grow.
 */
export function mayReconnect(code: number): boolean {
  return !FINAL.has(code);
}

/** The least wait that a close reason asks for, in milliseconds (`… retry_ms=600`); 0 if it asks for none. */
export function retryMs(reason: string): number {
  const asked = /\bretry_ms=(\d{1,7})\b/.exec(reason)?.[1];
  return asked === undefined ? 0 : Number(asked);
}
