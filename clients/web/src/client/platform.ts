/** What the client needs of the place it runs in; all of it can be handed in, and is in tests. */

import type { Random } from "../model/policy.js";

/** As much of a WebSocket as is used: the browser's own, Node's, or one of a library. */
export interface Socket {
  send(message: string): void;
  close(code?: number, reason?: string): void;
  addEventListener(type: "open", listener: () => void): void;
  addEventListener(type: "message", listener: (event: { readonly data: unknown }) => void): void;
  addEventListener(type: "close", listener: (event: { readonly code: number; readonly reason: string }) => void): void;
}

export type SocketConstructor = new (url: string) => Socket;

export type TimerHandle = unknown;

export interface Platform {
  readonly WebSocket: SocketConstructor;
  readonly setTimeout: (ring: () => void, ms: number) => TimerHandle;
  readonly clearTimeout: (timer: TimerHandle) => void;
  /** Unix milliseconds. */
  readonly now: () => number;
  readonly random: Random;
}

interface Globals {
  readonly WebSocket?: SocketConstructor;
  readonly setTimeout: (ring: () => void, ms: number) => TimerHandle;
  readonly clearTimeout: (timer: TimerHandle) => void;
}

/**
 * The browser, or Node 22 and later; with whatever is handed in instead.
 *
 * Throws a TypeError where there is no WebSocket.
 */
export function platformWith(given: Partial<Platform>): Platform {
  const globals = globalThis as unknown as Globals;
  const WebSocket = given.WebSocket ?? globals.WebSocket;
  if (WebSocket === undefined) throw new TypeError("there is no WebSocket here: hand one in as platform.WebSocket");
  return {
    // Called through the global object: a browser's timers refuse to be methods of anything else.
    setTimeout: (ring, ms) => globals.setTimeout(ring, ms),
    clearTimeout: (timer) => globals.clearTimeout(timer),
    now: () => Date.now(),
    random: () => Math.random(),
    ...given,
    WebSocket,
  };
}
