/**
 * Why a call fails.
 *
 *     EvsError
 *     ├── RequestRefused      the bridge answered with an error: `code` for a program, `message` for a person
 *     ├── RequestTimedOut     no answer in time; the request may be made again
 *     ├── TooManyCalls        more calls at a time than the policy allows
 *     ├── ProtocolViolation   the bridge's answer is not what the protocol promises
 *     └── ClientClosed        the client is closed, by its owner or for good: `ending` says
 */

import type { ErrorCode } from "../wire/frames.js";
import type { Ending } from "../model/state.js";

export class EvsError extends Error {
  override readonly name: string = "EvsError";
}

export class RequestRefused extends EvsError {
  override readonly name = "RequestRefused";
  readonly method: string;
  readonly code: ErrorCode;

  constructor(method: string, code: ErrorCode, message: string) {
    super(message);
    this.method = method;
    this.code = code;
  }
}

export class RequestTimedOut extends EvsError {
  override readonly name = "RequestTimedOut";

  constructor(method: string, ms: number) {
    super(`${method}: no answer within ${ms} ms`);
  }
}

export class TooManyCalls extends EvsError {
  override readonly name = "TooManyCalls";

  constructor(method: string, callsMax: number) {
    super(`${method}: ${callsMax} calls are waiting already, the most there may be`);
  }
}

export class ProtocolViolation extends EvsError {
  override readonly name = "ProtocolViolation";
}

export class ClientClosed extends EvsError {
  override readonly name = "ClientClosed";
  readonly ending: Ending;

  constructor(ending: Ending) {
    super(`the client is closed: ${ending.reason || ending.why}`);
    this.ending = ending;
  }
}
