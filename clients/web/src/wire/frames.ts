/**
 * Every frame that the bridge sends, as a type and as its parser (PROTOCOL); names are those of the wire.
 *
 * What comes in is untrusted: any text parses, if only to a problem. Streams and status values that we do not know are
 * `unknown`, to be ignored. Not here: what a frame means for the connection (`model`). Pure.
 */

import {
  accepted,
  exactly,
  field,
  finite,
  isRecord,
  list,
  record,
  refused,
  text,
  truth,
  whole,
  type Decoded,
  type Decoder,
} from "./decode.js";
import type { AccountId, Cents, Percent, UnixMillis, UnixSeconds, Version } from "./numbers.js";

/** The id of a request, as it comes back in its answer. */
export type RequestId = number | string;

/** What to know about a value; a newer bridge may have more. */
export type EquityFlag =
  "UNPRICED" | "STALE_PRICE" | "DEGRADED" | "NO_BASE" | "IDENTITY_VIOLATED" | (string & Record<never, never>);

export interface EquityData {
  readonly account_id: AccountId;
  readonly tick: number;
  readonly timestamp: UnixSeconds;
  readonly total_equity: Cents;
  readonly cash_balance: Cents;
  readonly position_value: Cents;
  readonly day_change: Cents;
  readonly day_change_percent: Percent;
  readonly unrealized_pnl: Cents;
  readonly realized_pnl: Cents;
}

/** One value of the account. */
export interface EquityFrame {
  readonly stream: "equity";
  readonly data: EquityData;
  readonly version: Version;
  /** How many values lie between this and the frame before is not known: the first one, or one was lost. */
  readonly snapshot: boolean;
  /** Values that were skipped since the frame before. */
  readonly conflated: number;
  readonly flags: readonly EquityFlag[];
}

export type StatusFrame =
  | { readonly stream: "status"; readonly status: "live" }
  | { readonly stream: "status"; readonly status: "stale"; readonly since: UnixMillis }
  | { readonly stream: "status"; readonly status: "expiring"; readonly close_in_ms: number };

/** A good answer; what `result` holds depends on the method, which only who asked knows. */
export interface AnswerFrame {
  readonly stream: "answer";
  readonly id: RequestId;
  readonly result: unknown;
}

/** Error codes of the protocol; a newer bridge may have more. */
export type ErrorCode =
  | "INVALID_REQUEST"
  | "UNAUTHENTICATED"
  | "PERMISSION_DENIED"
  | "UNKNOWN_ACCOUNT"
  | "OVERLOADED"
  | "UNAVAILABLE"
  | "INTERNAL"
  | (string & Record<never, never>);

/** An error answer; `id` is null if that of the request could not be read. */
export interface ErrorFrame {
  readonly stream: "error";
  readonly id: RequestId | null;
  readonly code: ErrorCode;
  readonly message: string;
}

/** A push that this version does not know. */
export interface UnknownFrame {
  readonly stream: "unknown";
}

export type Frame = EquityFrame | StatusFrame | AnswerFrame | ErrorFrame | UnknownFrame;

/** Milliseconds of a wait; a day is more than any bridge gives. */
const waitMs = whole(0, 86_400_000);

const equityData = record<EquityData>({
  account_id: whole<AccountId>(1),
  tick: whole(0),
  timestamp: whole<UnixSeconds>(),
  total_equity: whole<Cents>(),
  cash_balance: whole<Cents>(),
  position_value: whole<Cents>(),
  day_change: whole<Cents>(),
  day_change_percent: finite<Percent>(),
  unrealized_pnl: whole<Cents>(),
  realized_pnl: whole<Cents>(),
});

const equityFrame = record<EquityFrame>({
  stream: exactly("equity"),
  data: equityData,
  version: whole<Version>(0),
  snapshot: truth,
  conflated: whole(0),
  flags: list(text),
});

const staleFrame = record<Extract<StatusFrame, { status: "stale" }>>({
  stream: exactly("status"),
  status: exactly("stale"),
  since: whole<UnixMillis>(0),
});

const expiringFrame = record<Extract<StatusFrame, { status: "expiring" }>>({
  stream: exactly("status"),
  status: exactly("expiring"),
  close_in_ms: waitMs,
});

const errorBody = record<{ readonly code: string; readonly message: string }>({ code: text, message: text });

/** What a message of the bridge says. */
export function parseFrame(message: unknown): Decoded<Frame> {
  if (typeof message !== "string") return refused("", "a text message", message);
  const json = parseJson(message);
  if (!json.ok) return json;
  const value = json.value;
  if (!isRecord(value)) return refused("", "an object", value);
  switch (field(value, "stream")) {
    case undefined:
      return parseAnswer(value);
    case "equity":
      return equityFrame(value, "");
    case "status":
      return parseStatus(value);
    default:
      return accepted({ stream: "unknown" });
  }
}

/** The id in a message that is no frame otherwise, so that who asked can be told. */
export function idOf(message: unknown): RequestId | null {
  const json = typeof message === "string" ? parseJson(message) : refused("", "a text message", message);
  if (!json.ok || !isRecord(json.value)) return null;
  const id = requestId(field(json.value, "id"), "id");
  return id.ok ? id.value : null;
}

const requestId: Decoder<RequestId> = (value, path) =>
  typeof value === "string" ? accepted(value) : whole()(value, path);

function parseStatus(value: Readonly<Record<string, unknown>>): Decoded<StatusFrame | UnknownFrame> {
  switch (field(value, "status")) {
    case "live":
      return accepted({ stream: "status", status: "live" });
    case "stale":
      return staleFrame(value, "");
    case "expiring":
      return expiringFrame(value, "");
    default:
      return accepted({ stream: "unknown" });
  }
}

function parseAnswer(value: Readonly<Record<string, unknown>>): Decoded<AnswerFrame | ErrorFrame> {
  const error = field(value, "error");
  const idField = field(value, "id");
  if (error !== undefined) {
    const id = idField === null ? accepted(null) : requestId(idField, "id");
    if (!id.ok) return id;
    const body = errorBody(error, "error");
    return body.ok ? accepted({ stream: "error", id: id.value, ...body.value }) : body;
  }
  const id = requestId(idField, "id");
  if (!id.ok) return id;
  if (!Object.hasOwn(value, "result")) return refused("result", "a result or an error", undefined);
  return accepted({ stream: "answer", id: id.value, result: value["result"] });
}

function parseJson(message: string): Decoded<unknown> {
  try {
    return accepted(JSON.parse(message) as unknown);
  } catch {
    return { ok: false, path: "", problem: "expected JSON" };
  }
}
