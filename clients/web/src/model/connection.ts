/**
 * What follows from what happens to a connection: (state, event) → state and effects. Pure but for the random it is
 * given.
 *
 * Invariants: the version published never goes back; a closed connection stays closed; every other state but `idle` has
 * a timer that moves it on if nothing comes; a token is kept only until it is presented.
 */

import { CloseCode, mayReconnect, retryMs } from "../wire/close-codes.js";
import type { AnswerFrame, EquityFrame, ErrorFrame, Frame, StatusFrame } from "../wire/frames.js";
import { parseResult, request } from "../wire/methods.js";
import { isNews } from "./newest.js";
import { retryDelay, type Policy, type Random } from "./policy.js";
import {
  isAuthenticated,
  isFollowing,
  TIMERS,
  type Effect,
  type Ending,
  type Event,
  type State,
  type Step,
  type Timer,
} from "./state.js";

/** Ids of the connection's own requests; those of calls are numbers. */
const AUTH = "auth";
const SUBSCRIBE = "subscribe";
const PING = "ping";

export type Reducer = (state: State, event: Event) => Step;

/** The reducer of connections that keep a policy. */
export function createReducer(policy: Policy, random: Random): Reducer {
  const rules = new Rules(policy, random);
  return (state, event) => rules.reduce(state, event);
}

class Rules {
  readonly #policy: Policy;
  readonly #random: Random;

  constructor(policy: Policy, random: Random) {
    this.#policy = policy;
    this.#random = random;
  }

  reduce(state: State, event: Event): Step {
    if (state.status.kind === "closed" || ("generation" in event && event.generation !== state.generation)) {
      return [state, []];
    }
    switch (event.kind) {
      case "start":
        return state.status.kind === "idle" ? this.#connect(state) : [state, []];
      case "token":
        return this.#takeToken(state, event.token);
      case "token_failed":
        return this.#doWithoutToken(state, event.reason);
      case "opened":
        return this.#present(state);
      case "frame":
        return this.#takeFrame(state, event.frame);
      case "lost":
        return this.#lose(state, event.code, event.reason);
      case "rang":
        return this.#ring(state, event.timer);
      case "nudge":
        return this.#nudge(state);
      case "end":
        return finish(state, { why: "asked", code: null, reason: "closed by its owner" });
    }
  }

  // --- an attempt ----------------------------------------------------------------------------------------------

  #connect(state: State): Step {
    const generation = state.generation + 1;
    return [
      { ...state, generation, status: { kind: "connecting" }, token: null, heartbeat: "resting" },
      [{ kind: "fetch_token", generation }, setTimer("handshake", this.#policy.tokenMs)],
    ];
  }

  #takeToken(state: State, token: string | null): Step {
    if (token === null) return finish(state, { why: "no_token", code: null, reason: "there is no token" });
    if (isAuthenticated(state)) return [state, [send(request(AUTH, "auth.jwt", { token }))]];
    if (state.status.kind !== "connecting" || state.token !== null) return [state, []];
    return [
      { ...state, token },
      [{ kind: "open", generation: state.generation }, setTimer("handshake", this.#policy.handshakeMs)],
    ];
  }

  #doWithoutToken(state: State, reason: string): Step {
    if (isAuthenticated(state)) return [state, [setTimer("refresh", this.#policy.refreshMs)]];
    return state.status.kind === "connecting" ? this.#wait(state, { code: null, reason }) : [state, []];
  }

  #present(state: State): Step {
    const { token } = state;
    if (state.status.kind !== "connecting" || token === null) return [state, []];
    return [
      { ...state, token: null, status: { kind: "authenticating", step: "auth" } },
      [send(request(AUTH, "auth.jwt", { token }))],
    ];
  }

  // --- what the bridge says ------------------------------------------------------------------------------------

  #takeFrame(before: State, frame: Frame): Step {
    const state: State = before.heartbeat === "asked" ? { ...before, heartbeat: "heard" } : before;
    switch (frame.stream) {
      case "equity":
        return this.#takeEquity(state, frame);
      case "status":
        return this.#takeStatus(state, frame);
      case "answer":
        return this.#takeAnswer(state, frame);
      case "error":
        return this.#takeError(state, frame);
      case "unknown":
        return [state, []];
    }
  }

  #takeEquity(state: State, equity: EquityFrame): Step {
    if (!isFollowing(state)) return [state, []];
    const { account_id } = equity.data;
    if (account_id !== state.accountId) {
      return [state, [complain(`an equity frame of account ${account_id}, expected ${state.accountId}`)]];
    }
    const heard: State = state.status.kind === "authenticating" ? { ...state, status: { kind: "live" } } : state;
    if (!isNews(equity, state.newest)) return [heard, []];
    return [{ ...heard, newest: equity }, [{ kind: "publish", equity }]];
  }

  #takeStatus(state: State, frame: StatusFrame): Step {
    // A token may expire before the subscription is answered; the rest is about values.
    if (frame.status === "expiring") {
      return [state, isAuthenticated(state) ? [{ kind: "fetch_token", generation: state.generation }] : []];
    }
    if (!isFollowing(state)) return [state, []];
    if (frame.status === "stale") return [{ ...state, status: { kind: "stale", since: frame.since } }, []];
    return [state.status.kind === "live" ? state : { ...state, status: { kind: "live" } }, []];
  }

  #takeAnswer(state: State, answer: AnswerFrame): Step {
    if (answer.id === AUTH) return this.#authenticate(state, answer.result);
    if (answer.id !== SUBSCRIBE || state.status.kind !== "authenticating") return [state, []];
    return [
      { ...state, status: { kind: "authenticating", step: "value" } },
      [clearTimer("handshake"), setTimer("heartbeat", this.#policy.pingMs)],
    ];
  }

  #authenticate(before: State, result: unknown): Step {
    const answer = parseResult("auth.jwt", result);
    if (!answer.ok) return this.#abandon(before, `auth.jwt was answered with ${answer.path}: ${answer.problem}`);
    const accountId = answer.value.account_id;
    if (before.accountId !== null && before.accountId !== accountId) {
      const reason = `the token is of account ${accountId}, expected ${before.accountId}`;
      return finish(before, { why: "other_account", code: null, reason });
    }
    const state: State = { ...before, accountId, refusals: 0 };
    if (state.status.kind !== "authenticating" || state.status.step !== "auth") return [state, [clearTimer("refresh")]];
    return [
      { ...state, status: { kind: "authenticating", step: "subscribe" } },
      [send(request(SUBSCRIBE, "equity.subscribe", {}))],
    ];
  }

  #takeError(state: State, error: ErrorFrame): Step {
    // A token refused is followed by a close, whose code says more.
    return error.id === SUBSCRIBE ? this.#abandon(state, error.message) : [state, []];
  }

  // --- time ----------------------------------------------------------------------------------------------------

  #ring(state: State, timer: Timer): Step {
    switch (timer) {
      case "handshake":
        return state.status.kind === "connecting" || state.status.kind === "authenticating"
          ? this.#abandon(state, "the bridge was not reached in time")
          : [state, []];
      case "retry":
        return state.status.kind === "waiting" ? this.#connect(state) : [state, []];
      case "heartbeat":
        return isFollowing(state) ? this.#beat(state) : [state, []];
      case "refresh":
        return [state, isAuthenticated(state) ? [{ kind: "fetch_token", generation: state.generation }] : []];
    }
  }

  #beat(state: State): Step {
    switch (state.heartbeat) {
      case "resting":
        return [
          { ...state, heartbeat: "asked" },
          [send(request(PING, "ping", {})), setTimer("heartbeat", this.#policy.pongMs)],
        ];
      case "heard":
        // Only now is the connection known to be good: one that is opened and lost at once must not reset the waits.
        return [{ ...state, heartbeat: "resting", attempt: 0 }, [setTimer("heartbeat", this.#policy.pingMs)]];
      case "asked":
        return this.#abandon(state, `nothing came within ${this.#policy.pongMs} ms after a ping`);
    }
  }

  #nudge(state: State): Step {
    if (state.status.kind === "waiting") return prepend(clearTimer("retry"), this.#connect(state));
    return isFollowing(state) && state.heartbeat === "resting" ? this.#beat(state) : [state, []];
  }

  // --- ends ----------------------------------------------------------------------------------------------------

  /** Give a socket up that does not answer: its own close may never come. */
  #abandon(state: State, reason: string): Step {
    const disconnect: Effect = { kind: "disconnect", code: CloseCode.HEARTBEAT, reason: "not heard in time" };
    return prepend(disconnect, this.#lose(state, CloseCode.HEARTBEAT, reason));
  }

  #lose(state: State, code: number, reason: string): Step {
    if (state.status.kind === "idle" || state.status.kind === "waiting") return [state, []];
    if (!mayReconnect(code)) return finish(state, { why: "refused", code, reason });
    const refusals = state.refusals + (code === CloseCode.UNAUTHENTICATED ? 1 : 0);
    if (refusals >= this.#policy.refusalsMax) return finish(state, { why: "token_refused", code, reason });
    return this.#wait({ ...state, refusals }, { code, reason });
  }

  #wait(state: State, loss: { readonly code: number | null; readonly reason: string }): Step {
    const delayMs = retryMs(loss.reason) + retryDelay(state.attempt, this.#policy, this.#random);
    const status = { kind: "waiting", delayMs, loss } as const;
    return [
      { ...state, status, attempt: state.attempt + 1, token: null, heartbeat: "resting" },
      [...TIMERS.map(clearTimer), setTimer("retry", delayMs)],
    ];
  }
}

function finish(state: State, ending: Ending): Step {
  return [
    { ...state, status: { kind: "closed", ending }, token: null },
    [...TIMERS.map(clearTimer), { kind: "disconnect", code: 1000, reason: "" }],
  ];
}

function send(message: string): Effect {
  return { kind: "send", message };
}

function setTimer(timer: Timer, ms: number): Effect {
  return { kind: "set_timer", timer, ms };
}

function clearTimer(timer: Timer): Effect {
  return { kind: "clear_timer", timer };
}

function complain(problem: string): Effect {
  return { kind: "complain", problem };
}

function prepend(effect: Effect, [state, effects]: Step): Step {
  return [state, [effect, ...effects]];
}
