/** What the package offers. */

export { Client, createClient, type ClientOptions } from "./client/client.js";
export {
  ClientClosed,
  EvsError,
  ProtocolViolation,
  RequestRefused,
  RequestTimedOut,
  TooManyCalls,
} from "./client/errors.js";
export type { Listener, Unsubscribe } from "./client/listeners.js";
export type { Platform, Socket, SocketConstructor, TimerHandle } from "./client/platform.js";
export { formatCents, formatPercent, formatShares, type Signed } from "./format.js";
export { DEFAULT_POLICY, type Policy, type Random } from "./model/policy.js";
export type { Ending, Loss, Status } from "./model/state.js";
export { CloseCode, mayReconnect } from "./wire/close-codes.js";
export type { EquityData, EquityFlag, EquityFrame, ErrorCode } from "./wire/frames.js";
export {
  HISTORY_RANGES,
  LEADERBOARD_RANGES,
  RESOLUTIONS,
  type Cluster,
  type EquityPoint,
  type HistoryPage,
  type HistoryQuery,
  type HistoryRange,
  type Leaderboard,
  type LeaderboardEntry,
  type LeaderboardQuery,
  type LeaderboardRange,
  type MarkSource,
  type Performance,
  type Position,
  type Positions,
  type Resolution,
  type ShardKilled,
  type Span,
  type Summary,
  type VirtualShard,
} from "./wire/methods.js";
export type {
  AccountId,
  BasisPoints,
  Cents,
  Percent,
  SymbolId,
  UnixMillis,
  UnixSeconds,
  Version,
} from "./wire/numbers.js";
