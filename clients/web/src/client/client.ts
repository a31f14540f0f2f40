/**
 * One account, followed: the thin shell around the connection's reducer. It opens sockets, sets timers and tells
 * listeners.
 *
 * Not here: any decision about the connection (`model/connection`), calls (`calls`), JSON (`wire`).
 */

import { createReducer, type Reducer } from "../model/connection.js";
import { DEFAULT_POLICY, type Policy } from "../model/policy.js";
import { IDLE, isAuthenticated, type Effect, type Event, type State, type Status, type Timer } from "../model/state.js";
import { idOf, parseFrame, type EquityFrame } from "../wire/frames.js";
import type {
  Cluster,
  HistoryPage,
  HistoryQuery,
  Leaderboard,
  LeaderboardQuery,
  Performance,
  Positions,
  ShardKilled,
  Span,
  Summary,
} from "../wire/methods.js";
import { Calls } from "./calls.js";
import { ClientClosed, ProtocolViolation } from "./errors.js";
import { Listeners, tellOne, type Listener, type Unsubscribe } from "./listeners.js";
import { platformWith, type Platform, type Socket, type TimerHandle } from "./platform.js";

export interface ClientOptions {
  /** The bridge's socket, `wss://…/ws`. */
  readonly url: string;
  /**
   * A token of the account, asked for before every attempt and when the last one has expired; null if there is none any
   * more (the user has logged out), which closes the client. If it fails it is asked again, after a wait that grows.
   */
  readonly token: () => Promise<string | null> | string | null;
  /** Bounds and times; see `Policy` for the defaults. */
  readonly policy?: Partial<Policy>;
  /** Where it runs; the browser or Node by default. */
  readonly platform?: Partial<Platform>;
  /** Told what the bridge said that breaks the protocol and was ignored. */
  readonly onProblem?: Listener<string>;
}

/** A client that connects at once, and again after every loss that allows it, until it is closed. */
export function createClient(options: ClientOptions): Client {
  return new Client(options);
}

export class Client {
  readonly #options: ClientOptions;
  readonly #platform: Platform;
  readonly #reduce: Reducer;
  readonly #calls: Calls;
  readonly #equityListeners = new Listeners<EquityFrame>();
  readonly #statusListeners = new Listeners<Status>();
  readonly #timers = new Map<Timer, TimerHandle>();
  readonly #events: Event[] = [];
  #state: State = IDLE;
  #socket: Socket | null = null;
  #heardAt: number | null = null;
  #draining = false;

  constructor(options: ClientOptions) {
    const policy: Policy = { ...DEFAULT_POLICY, ...options.policy };
    this.#options = options;
    this.#platform = platformWith(options.platform ?? {});
    this.#reduce = createReducer(policy, this.#platform.random);
    this.#calls = new Calls(policy, this.#platform);
    this.#dispatch({ kind: "start" });
  }

  // --- what is known -------------------------------------------------------------------------------------------

  /** The state of the connection. */
  get status(): Status {
    return this.#state.status;
  }

  /** The newest value ever seen; null until there is one. */
  get equity(): EquityFrame | null {
    return this.#state.newest;
  }

  /** When the bridge was last heard, in unix milliseconds; null if never. */
  get heardAt(): number | null {
    return this.#heardAt;
  }

  /** Hear every value from now on, and the newest known at once. Versions grow; only a snapshot may repeat the last. */
  subscribe(listener: Listener<EquityFrame>): Unsubscribe {
    const unsubscribe = this.#equityListeners.add(listener);
    if (this.#state.newest !== null) tellOne(listener, this.#state.newest);
    return unsubscribe;
  }

  /** Hear every change of `status`, and the present one at once. */
  onStatus(listener: Listener<Status>): Unsubscribe {
    const unsubscribe = this.#statusListeners.add(listener);
    tellOne(listener, this.#state.status);
    return unsubscribe;
  }

  // --- what can be asked: each waits for the connection, within its deadline, and fails with an EvsError ----------

  /** The account now. */
  summary(): Promise<Summary> {
    return this.#calls.ask("account.summary", {});
  }

  /** Every position the account ever had. */
  positions(): Promise<Positions> {
    return this.#calls.ask("positions.list", {});
  }

  /** One page of history; without a range or a start, of the last day. */
  history(query: HistoryQuery = {}): Promise<HistoryPage> {
    return this.#calls.ask("equity.history", query);
  }

  /** All pages, each asked for when the one before has been used. */
  async *historyPages(query: HistoryQuery = {}): AsyncGenerator<HistoryPage, void, undefined> {
    let page = await this.history(query);
    yield page;
    while (page.next !== null) {
      const next = page.next;
      page = await this.history({ ...query, next });
      if (page.next === next)
        throw new ProtocolViolation("the answer to equity.history: next is that of the page before");
      yield page;
    }
  }

  /** What the account has made over a span; by default the last day. */
  performance(span: Span = {}): Promise<Performance> {
    return this.#calls.ask("equity.performance", span);
  }

  /** The first accounts by return, and one's own. */
  leaderboard(query: LeaderboardQuery = {}): Promise<Leaderboard> {
    return this.#calls.ask("leaderboard.list", query);
  }

  /** Who owns the virtual shards, and how far they are; refused but in the demo of a cluster. */
  cluster(): Promise<Cluster> {
    return this.#calls.ask("cluster.state", {});
  }

  /** Kill a worker, whichever; refused but in the demo of a cluster. */
  killShard(): Promise<ShardKilled> {
    return this.#calls.ask("demo.kill_shard", {});
  }

  // --- what can be done ----------------------------------------------------------------------------------------

  /** Look at once whether the connection is good: when the network is back, or the page is seen again. */
  nudge(): void {
    this.#dispatch({ kind: "nudge" });
  }

  /** Close for good. Calls that wait fail; listeners hear `closed` and nothing after. */
  close(): void {
    this.#dispatch({ kind: "end" });
  }

  // --- the reducer's shell -------------------------------------------------------------------------------------

  #dispatch(event: Event): void {
    this.#events.push(event);
    if (this.#draining) return; // a listener, or an effect, caused it: in its turn
    this.#draining = true;
    try {
      for (let next = this.#events.shift(); next !== undefined; next = this.#events.shift()) this.#apply(next);
    } finally {
      this.#draining = false;
    }
  }

  #apply(event: Event): void {
    const before = this.#state;
    const [state, effects] = this.#reduce(before, event);
    this.#state = state;
    for (const effect of effects) this.#run(effect);
    if (state.status === before.status) return;
    this.#steerCalls(before, state);
    this.#statusListeners.tell(state.status);
  }

  #steerCalls(before: State, after: State): void {
    if (after.status.kind === "closed") {
      this.#calls.end(new ClientClosed(after.status.ending));
    } else if (isAuthenticated(after) && !isAuthenticated(before)) {
      this.#calls.open((message) => this.#socket?.send(message));
    } else if (!isAuthenticated(after)) {
      this.#calls.suspend();
    }
  }

  #run(effect: Effect): void {
    switch (effect.kind) {
      case "fetch_token":
        return this.#fetchToken(effect.generation);
      case "open":
        return this.#open(effect.generation);
      case "send":
        return this.#socket?.send(effect.message);
      case "disconnect":
        return this.#disconnect(effect.code, effect.reason);
      case "set_timer":
        return this.#setTimer(effect.timer, effect.ms);
      case "clear_timer":
        return this.#clearTimer(effect.timer);
      case "publish":
        return this.#equityListeners.tell(effect.equity);
      case "complain":
        return this.#complain(effect.problem);
    }
  }

  #fetchToken(generation: number): void {
    const asked = new Promise<string | null>((resolve) => resolve(this.#options.token()));
    asked.then(
      (token) => this.#dispatch({ kind: "token", generation, token }),
      (error: unknown) => {
        const reason = `token: ${error instanceof Error ? error.message : String(error)}`;
        this.#dispatch({ kind: "token_failed", generation, reason });
      },
    );
  }

  #open(generation: number): void {
    let socket: Socket;
    try {
      socket = new this.#platform.WebSocket(this.#options.url);
    } catch (error) {
      // A page may not open this address at all: said like any other loss, since it may be temporary.
      this.#dispatch({ kind: "lost", generation, code: 1006, reason: String(error) });
      return;
    }
    this.#socket = socket;
    const ifCurrent = (event: () => Event): void => {
      if (this.#socket === socket) this.#dispatch(event());
    };
    socket.addEventListener("open", () => ifCurrent(() => ({ kind: "opened", generation })));
    socket.addEventListener("message", ({ data }) => {
      if (this.#socket === socket) this.#hear(generation, data);
    });
    socket.addEventListener("close", ({ code, reason }) => {
      ifCurrent(() => {
        this.#socket = null;
        return { kind: "lost", generation, code, reason };
      });
    });
  }

  #hear(generation: number, message: unknown): void {
    this.#heardAt = this.#platform.now();
    const frame = parseFrame(message);
    if (!frame.ok) {
      const problem = frame.path === "" ? frame.problem : `${frame.path}: ${frame.problem}`;
      const id = idOf(message);
      if (id !== null) this.#calls.violate(id, problem);
      this.#complain(problem);
      return;
    }
    this.#dispatch({ kind: "frame", generation, frame: frame.value });
    if (frame.value.stream === "answer" || frame.value.stream === "error") this.#calls.settle(frame.value);
  }

  #disconnect(code: number, reason: string): void {
    const socket = this.#socket;
    this.#socket = null; // whatever it still says is not heard
    socket?.close(code, reason);
  }

  #setTimer(timer: Timer, ms: number): void {
    this.#clearTimer(timer);
    this.#timers.set(
      timer,
      this.#platform.setTimeout(() => {
        this.#timers.delete(timer);
        this.#dispatch({ kind: "rang", timer });
      }, ms),
    );
  }

  #clearTimer(timer: Timer): void {
    if (this.#timers.has(timer)) this.#platform.clearTimeout(this.#timers.get(timer));
    this.#timers.delete(timer);
  }

  #complain(problem: string): void {
    if (this.#options.onProblem !== undefined) tellOne(this.#options.onProblem, problem);
  }
}
