/** A client in a place of fakes, and what its bridge says. */

import assert from "node:assert/strict";

import { createClient, type Client, type ClientOptions, type EquityFrame } from "../src/index.js";
import { equityFrame, fakePlatform, settled, type FakeSocket, type FakeTime } from "./fakes.js";
import { golden } from "./golden.js";

export interface Scene {
  readonly client: Client;
  readonly time: FakeTime;
  readonly sockets: FakeSocket[];
  readonly statuses: string[];
  readonly values: EquityFrame[];
  readonly problems: string[];
  /** The newest socket. */
  socket(): FakeSocket;
}

/** A client in a place of fakes, once it has asked for its token. */
export async function scene(options: Partial<ClientOptions> = {}): Promise<Scene> {
  const { time, sockets, platform } = fakePlatform();
  const statuses: string[] = [];
  const values: EquityFrame[] = [];
  const problems: string[] = [];
  const client = createClient({
    url: "ws://bridge/ws",
    token: () => "token",
    platform,
    onProblem: (problem) => problems.push(problem),
    ...options,
  });
  client.onStatus((status) => statuses.push(status.kind));
  client.subscribe((value) => values.push(value));
  await settled();
  const socket = (): FakeSocket => {
    const newest = sockets.at(-1);
    assert.ok(newest !== undefined, "no socket was opened");
    return newest;
  };
  return { client, time, sockets, statuses, values, problems, socket };
}

/** The bridge lets the newest socket in, and sends a snapshot. */
export function letIn(socket: FakeSocket, version = 1): void {
  socket.opens();
  socket.answers("auth.jwt", { authenticated: true, account_id: 7 });
  socket.answers("equity.subscribe", { subscribed: true });
  socket.says(equityFrame(version, { snapshot: true }));
}

export const summaryResult = (): unknown => (JSON.parse(golden("summary")) as { result: unknown }).result;
