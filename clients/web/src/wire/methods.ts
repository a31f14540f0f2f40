/**
 * Every method of the bridge: what it takes, what it answers, and the parser of the answer (PROTOCOL, "Methods").
 *
 * Names are those of the wire. Not here: frames that answer nothing (`frames`), when a request is sent (`client`).
 * Pure.
 */

import { accepted, exactly, finite, list, nullable, oneOf, record, refused, text, truth, whole } from "./decode.js";
import type { Decoded, Decoder } from "./decode.js";
import type { EquityFlag, RequestId } from "./frames.js";
import type { AccountId, BasisPoints, Cents, Percent, SymbolId, UnixMillis, UnixSeconds, Version } from "./numbers.js";

// --- what is asked ---------------------------------------------------------------------------------------------

export const HISTORY_RANGES = ["1D", "1W", "1M", "3M", "1Y", "ALL"] as const;
export type HistoryRange = (typeof HISTORY_RANGES)[number];

export const RESOLUTIONS = ["raw", "1m", "5m", "1h", "1d"] as const;
export type Resolution = (typeof RESOLUTIONS)[number];

export const LEADERBOARD_RANGES = ["1D", "1W", "1M", "ALL"] as const;
export type LeaderboardRange = (typeof LEADERBOARD_RANGES)[number];

/** A range that ends now, or a start and, if it is not now, an end in unix seconds (the end itself not included). */
export type Span =
  | { readonly range?: HistoryRange; readonly start?: never; readonly end?: never }
  | { readonly range?: never; readonly start: number; readonly end?: number };

export type HistoryQuery = Span & {
  readonly resolution?: Resolution;
  /** Also a point for each bucket in which nothing happened, with the values of the one before. */
  readonly fill?: boolean;
  /** Most points of a page: 1 to 5,000, default 2,500. */
  readonly limit?: number;
  /** `next` of the page before; everything else as it was. */
  readonly next?: string;
};

export interface LeaderboardQuery {
  readonly range?: LeaderboardRange;
  /** Most entries: 1 to 100, default 10. */
  readonly limit?: number;
}

// --- what is answered ------------------------------------------------------------------------------------------

export interface Authenticated {
  readonly authenticated: true;
  readonly account_id: AccountId;
}

export interface Subscribed {
  readonly subscribed: true;
}

export interface Unsubscribed {
  readonly subscribed: false;
}

export interface Pong {
  readonly pong: true;
}

/** The account now, under the names that the exchange's frontend has for it. */
export interface Summary {
  readonly account_id: AccountId;
  readonly balance: Cents;
  readonly total_equity: Cents;
  readonly position_value: Cents;
  readonly day_change: Cents;
  readonly day_change_percent: Percent;
  readonly buying_power: Cents;
  readonly unrealized_pnl: Cents;
  readonly realized_pnl: Cents;
  readonly last_updated: UnixSeconds;
  readonly version: Version;
  readonly flags: readonly EquityFlag[];
}

/** Which price valued a position; a newer bridge may have more. */
export type MarkSource = "MARK" | "LAST_TRADE" | "COST" | (string & Record<never, never>);

export interface Position {
  readonly symbol_id: SymbolId;
  readonly quantity_bp: BasisPoints;
  readonly avg_cost: Cents;
  readonly basis_cents: Cents;
  readonly mark_price: Cents;
  readonly mark_source: MarkSource;
  readonly market_value: Cents;
  readonly unrealized_pnl: Cents;
  readonly realized_pnl: Cents;
  readonly last_updated: UnixSeconds;
  readonly mark_time: UnixMillis;
}

/** Every position the account ever had, ascending by symbol; closed ones have quantity 0. */
export interface Positions {
  readonly positions: readonly Position[];
  readonly version: Version;
}

/** One bucket of time; as a chart library takes it. */
export interface EquityPoint {
  readonly time: UnixSeconds;
  readonly open: Cents;
  readonly high: Cents;
  readonly low: Cents;
  readonly last: Cents;
  readonly realized_pnl: Cents;
  readonly net_flow: Cents;
  /** False while the bucket may still change. */
  readonly final: boolean;
}

/** Points in ascending order, no time twice. */
export interface HistoryPage {
  readonly resolution: Resolution;
  readonly points: readonly EquityPoint[];
  /** Where the next page begins; null after the last one. */
  readonly next: string | null;
}

export interface Performance {
  readonly start: UnixSeconds;
  readonly end: UnixSeconds;
  readonly start_equity: Cents;
  readonly end_equity: Cents;
  readonly net_flow: Cents;
  readonly profit: Cents;
  readonly time_weighted_return_percent: Percent;
  readonly max_drawdown_percent: Percent;
  readonly drawdown_percent: Percent;
  readonly high_water_mark: Cents;
  readonly high_water_time: UnixSeconds;
  readonly version: Version;
}

export interface LeaderboardEntry {
  readonly rank: number;
  /** Null where the exchange gives none. */
  readonly name: string | null;
  readonly return_percent: Percent;
  readonly own: boolean;
}

export interface Leaderboard {
  readonly range: LeaderboardRange;
  readonly entries: readonly LeaderboardEntry[];
  /** The place of one's own account; null if it is not ranked. */
  readonly own: LeaderboardEntry | null;
  readonly ranked_count: number;
  readonly version: Version;
}

/** One virtual shard: a part of the accounts, owned by one worker at a time. */
export interface VirtualShard {
  readonly shard: number;
  /** Which worker; empty if none has been heard. */
  readonly owner: string;
  /** Grows whenever an owner takes the shard. */
  readonly start_number: number;
  /** Up to here in the log it has applied everything that concerns it ... */
  readonly applied_position: number;
  /** ... and stored it. */
  readonly committed_position: number;
  readonly lag_ms: number;
  /** Nothing has been heard of its owner for long. */
  readonly silent: boolean;
  readonly owned_since: UnixMillis;
  readonly heard: UnixMillis;
}

/** The virtual shards of a demo that is a cluster, ascending. */
export interface Cluster {
  readonly last_position: number;
  readonly shards: readonly VirtualShard[];
  readonly time: UnixMillis;
}

/** A worker of the demo that has been killed. */
export interface ShardKilled {
  readonly killed: string;
}

// --- parsers ---------------------------------------------------------------------------------------------------

const cents = whole<Cents>();
const seconds = whole<UnixSeconds>();
const percent = finite<Percent>();
const version = whole<Version>(0);

const position = record<Position>({
  symbol_id: whole<SymbolId>(0),
  quantity_bp: whole<BasisPoints>(),
  avg_cost: cents,
  basis_cents: cents,
  mark_price: cents,
  mark_source: text,
  market_value: cents,
  unrealized_pnl: cents,
  realized_pnl: cents,
  last_updated: seconds,
  mark_time: whole<UnixMillis>(0),
});

const point = record<EquityPoint>({
  time: seconds,
  open: cents,
  high: cents,
  low: cents,
  last: cents,
  realized_pnl: cents,
  net_flow: cents,
  final: truth,
});

/** A chart library throws at a time that is not after the one before; such a page is refused here, with its place. */
const points: Decoder<readonly EquityPoint[]> = (value, path) => {
  const decoded = list(point)(value, path);
  if (!decoded.ok) return decoded;
  let before = -Infinity;
  for (const [index, { time }] of decoded.value.entries()) {
    if (time <= before) return refused(`${path}[${index}].time`, `a time after ${before}`, time);
    before = time;
  }
  return accepted(decoded.value);
};

const entry = record<LeaderboardEntry>({
  rank: whole(1),
  name: nullable(text),
  return_percent: percent,
  own: truth,
});

const virtualShard = record<VirtualShard>({
  shard: whole(0),
  owner: text,
  start_number: whole(0),
  applied_position: whole(0),
  committed_position: whole(0),
  lag_ms: whole(0),
  silent: truth,
  owned_since: whole<UnixMillis>(0),
  heard: whole<UnixMillis>(0),
});

interface Method<Params, Result> {
  readonly params?: Params; // of the type alone: nothing is kept here
  readonly parse: Decoder<Result>;
}

const method = <Params, Result>(parse: Decoder<Result>): Method<Params, Result> => ({ parse });

type Nothing = Readonly<Record<never, never>>;

const METHODS = {
  "auth.jwt": method<{ readonly token: string }, Authenticated>(
    record({ authenticated: exactly(true), account_id: whole<AccountId>(1) }),
  ),
  "equity.subscribe": method<Nothing, Subscribed>(record({ subscribed: exactly(true) })),
  "equity.unsubscribe": method<Nothing, Unsubscribed>(record({ subscribed: exactly(false) })),
  "account.summary": method<Nothing, Summary>(
    record<Summary>({
      account_id: whole<AccountId>(1),
      balance: cents,
      total_equity: cents,
      position_value: cents,
      day_change: cents,
      day_change_percent: percent,
      buying_power: cents,
      unrealized_pnl: cents,
      realized_pnl: cents,
      last_updated: seconds,
      version,
      flags: list(text),
    }),
  ),
  "positions.list": method<Nothing, Positions>(record<Positions>({ positions: list(position), version })),
  "equity.history": method<HistoryQuery, HistoryPage>(
    record<HistoryPage>({ resolution: oneOf(RESOLUTIONS), points, next: nullable(text) }),
  ),
  "equity.performance": method<Span, Performance>(
    record<Performance>({
      start: seconds,
      end: seconds,
      start_equity: cents,
      end_equity: cents,
      net_flow: cents,
      profit: cents,
      time_weighted_return_percent: percent,
      max_drawdown_percent: percent,
      drawdown_percent: percent,
      high_water_mark: cents,
      high_water_time: seconds,
      version,
    }),
  ),
  "leaderboard.list": method<LeaderboardQuery, Leaderboard>(
    record<Leaderboard>({
      range: oneOf(LEADERBOARD_RANGES),
      entries: list(entry),
      own: nullable(entry),
      ranked_count: whole(0),
      version,
    }),
  ),
  "cluster.state": method<Nothing, Cluster>(
    record<Cluster>({ last_position: whole(0), shards: list(virtualShard), time: whole<UnixMillis>(0) }),
  ),
  "demo.kill_shard": method<Nothing, ShardKilled>(record({ killed: text })),
  ping: method<Nothing, Pong>(record({ pong: exactly(true) })),
} as const;

export type MethodName = keyof typeof METHODS;
export type Params<Name extends MethodName> = NonNullable<(typeof METHODS)[Name]["params"]>;
export type Result<Name extends MethodName> = (typeof METHODS)[Name] extends { readonly parse: Decoder<infer R> }
  ? R
  : never;

/** What the answer to a method says. */
export function parseResult<Name extends MethodName>(name: Name, result: unknown): Decoded<Result<Name>> {
  return METHODS[name].parse(result, "result") as Decoded<Result<Name>>;
}

/** The message that asks; a parameter that is undefined is left out. */
export function request<Name extends MethodName>(id: RequestId, name: Name, params: Params<Name>): string {
  return JSON.stringify({ id, method: name, params });
}
