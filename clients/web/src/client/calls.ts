/**
 * Calls and their answers: numbered, sent at the bridge's pace, bounded in number and time.
 *
 * Every promise settles: with its answer, its refusal, at its deadline, or when the client closes. All calls are reads,
 * so one whose answer was lost with the socket is simply sent again on the next.
 */

import type { Policy } from "../model/policy.js";
import { dueIn, fullPace, refill, spend, type Pace } from "../model/pace.js";
import type { AnswerFrame, ErrorFrame, RequestId } from "../wire/frames.js";
import { parseResult, request, type MethodName, type Params, type Result } from "../wire/methods.js";
import { ProtocolViolation, RequestRefused, RequestTimedOut, TooManyCalls, type EvsError } from "./errors.js";
import type { Platform, TimerHandle } from "./platform.js";

interface Call {
  readonly method: MethodName;
  readonly message: string;
  readonly deadline: TimerHandle;
  readonly answer: (result: unknown) => void;
  readonly fail: (error: EvsError) => void;
  sent: boolean;
}

export class Calls {
  readonly #policy: Policy;
  readonly #platform: Platform;
  readonly #calls = new Map<RequestId, Call>();
  #nextId = 1;
  #send: ((message: string) => void) | null = null;
  #pace: Pace;
  #paceTimer: TimerHandle | null = null;
  #ended: EvsError | null = null;

  constructor(policy: Policy, platform: Platform) {
    this.#policy = policy;
    this.#platform = platform;
    this.#pace = fullPace(policy, platform.now());
  }

  /** The answer to a method, or an EvsError. */
  ask<Name extends MethodName>(method: Name, params: Params<Name>): Promise<Result<Name>> {
    if (this.#ended !== null) return Promise.reject(this.#ended);
    const { callMs, callsMax } = this.#policy;
    if (this.#calls.size >= callsMax) return Promise.reject(new TooManyCalls(method, callsMax));
    const id = this.#nextId++;
    return new Promise<Result<Name>>((resolve, reject) => {
      this.#calls.set(id, {
        method,
        message: request(id, method, params),
        deadline: this.#platform.setTimeout(() => {
          this.#fail(id, new RequestTimedOut(method, callMs));
          this.#pump(); // its place is free
        }, callMs),
        answer: (result) => {
          const parsed = parseResult(method, result);
          if (parsed.ok) resolve(parsed.value);
          else reject(new ProtocolViolation(`the answer to ${method}: ${parsed.path}: ${parsed.problem}`));
        },
        fail: reject,
        sent: false,
      });
      this.#pump();
    });
  }

  /** Send calls from now on. */
  open(send: (message: string) => void): void {
    this.#send = send;
    // The bridge keeps its count for each socket, and so do we.
    this.#pace = fullPace(this.#policy, this.#platform.now());
    this.#pump();
  }

  /** Send nothing until `open`: what has no answer yet will not get one from this socket. */
  suspend(): void {
    this.#send = null;
    this.#clearPace();
    for (const call of this.#calls.values()) call.sent = false;
  }

  /** Take an answer; one that nobody waits for any more is dropped. */
  settle(frame: AnswerFrame | ErrorFrame): void {
    if (frame.id === null) return;
    if (frame.stream === "answer") this.#take(frame.id)?.answer(frame.result);
    else this.#fail(frame.id, (method) => new RequestRefused(method, frame.code, frame.message));
    this.#pump();
  }

  /** Fail the call whose answer could not be read, if there is one. */
  violate(id: RequestId, problem: string): void {
    this.#fail(id, (method) => new ProtocolViolation(`the answer to ${method}: ${problem}`));
    this.#pump();
  }

  /** Fail every call, and every later one. */
  end(error: EvsError): void {
    this.#ended ??= error;
    this.suspend();
    for (const id of [...this.#calls.keys()]) this.#fail(id, this.#ended);
  }

  #fail(id: RequestId, error: EvsError | ((method: MethodName) => EvsError)): void {
    const call = this.#take(id);
    call?.fail(typeof error === "function" ? error(call.method) : error);
  }

  #take(id: RequestId): Call | undefined {
    const call = this.#calls.get(id);
    if (call !== undefined) {
      this.#calls.delete(id);
      this.#platform.clearTimeout(call.deadline);
    }
    return call;
  }

  #pump(): void {
    if (this.#send === null) return;
    const calls = [...this.#calls.values()];
    let inFlight = calls.filter((call) => call.sent).length;
    this.#pace = refill(this.#pace, this.#policy, this.#platform.now());
    for (const call of calls) {
      if (call.sent) continue;
      if (inFlight >= this.#policy.inFlightMax) return;
      const waitMs = dueIn(this.#pace, this.#policy);
      if (waitMs > 0) return this.#pumpIn(waitMs);
      this.#pace = spend(this.#pace);
      call.sent = true;
      inFlight += 1;
      this.#send(call.message);
    }
  }

  #pumpIn(ms: number): void {
    this.#paceTimer ??= this.#platform.setTimeout(() => {
      this.#paceTimer = null;
      this.#pump();
    }, ms);
  }

  #clearPace(): void {
    if (this.#paceTimer !== null) this.#platform.clearTimeout(this.#paceTimer);
    this.#paceTimer = null;
  }
}
