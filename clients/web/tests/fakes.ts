/** A place to run in that does only what a test says: time, sockets, chance. */

import type { Platform, Socket } from "../src/client/platform.js";

/** Time that passes when it is told to. */
export class FakeTime {
  now = 1_700_000_000_000;
  readonly #timers = new Map<number, { readonly at: number; readonly ring: () => void }>();
  #nextId = 1;

  readonly set = (ring: () => void, ms: number): number => {
    this.#timers.set(this.#nextId, { at: this.now + ms, ring });
    return this.#nextId++;
  };

  readonly clear = (id: unknown): void => {
    this.#timers.delete(id as number);
  };

  /** How many timers are set. */
  get pending(): number {
    return this.#timers.size;
  }

  /** Let time pass; what is due rings in order, each at its own time. */
  pass(ms: number): void {
    const until = this.now + ms;
    for (;;) {
      const [due] = [...this.#timers].filter(([, timer]) => timer.at <= until).sort((a, b) => a[1].at - b[1].at);
      if (due === undefined) break;
      this.#timers.delete(due[0]);
      this.now = Math.max(this.now, due[1].at);
      due[1].ring();
    }
    this.now = until;
  }
}

interface Heard {
  readonly open: () => void;
  readonly message: (event: { readonly data: unknown }) => void;
  readonly close: (event: { readonly code: number; readonly reason: string }) => void;
}

export interface SentRequest {
  readonly id: number | string;
  readonly method: string;
  readonly params: Readonly<Record<string, unknown>>;
}

/** One socket, played from the bridge's side. */
export class FakeSocket implements Socket {
  readonly url: string;
  readonly sent: SentRequest[] = [];
  closedWith: number | undefined;
  readonly #heard: Partial<Heard> = {};

  constructor(url: string) {
    this.url = url;
  }

  addEventListener<Name extends keyof Heard>(name: Name, listener: Heard[Name]): void {
    this.#heard[name] = listener;
  }

  send(message: string): void {
    this.sent.push(JSON.parse(message) as SentRequest);
  }

  close(code?: number): void {
    this.closedWith = code ?? 1005;
  }

  opens(): void {
    this.#heard.open?.();
  }

  says(frame: unknown): void {
    this.#heard.message?.({ data: typeof frame === "string" ? frame : JSON.stringify(frame) });
  }

  ends(code: number, reason = ""): void {
    this.#heard.close?.({ code, reason });
  }

  /** The last request of a method; one must have been sent. */
  asked(method: string): SentRequest {
    const request = this.sent.filter((sent) => sent.method === method).at(-1);
    if (request === undefined) throw new Error(`${method} was not sent`);
    return request;
  }

  answers(method: string, result: unknown): void {
    this.says({ id: this.asked(method).id, result });
  }

  refuses(method: string, code: string, message = "refused"): void {
    this.says({ id: this.asked(method).id, error: { code, message } });
  }
}

/** A platform of fakes, with every socket that was opened on it. */
export function fakePlatform(random = 0.5): { time: FakeTime; sockets: FakeSocket[]; platform: Platform } {
  const time = new FakeTime();
  const sockets: FakeSocket[] = [];
  class Recorded extends FakeSocket {
    constructor(url: string) {
      super(url);
      sockets.push(this);
    }
  }
  const platform: Platform = {
    WebSocket: Recorded,
    setTimeout: time.set,
    clearTimeout: time.clear,
    now: () => time.now,
    random: () => random,
  };
  return { time, sockets, platform };
}

/** Every promise that can settle by itself has settled. */
export function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** An equity frame of account 7. */
export function equityFrame(
  version: number,
  more: { readonly snapshot?: boolean; readonly account_id?: number } = {},
): object {
  return {
    stream: "equity",
    data: {
      account_id: more.account_id ?? 7,
      tick: version,
      timestamp: 1_700_000_000,
      total_equity: 1_000_000 + version,
      cash_balance: 1_000_000,
      position_value: version,
      day_change: 0,
      day_change_percent: 0,
      unrealized_pnl: 0,
      realized_pnl: 0,
    },
    version,
    snapshot: more.snapshot ?? false,
    conflated: 0,
    flags: [],
  };
}
