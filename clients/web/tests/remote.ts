/**
 * A client as a program: commands come in, one JSON object a line, and what it hears goes out the same way.
 *
 *     in:  {"token": "…" | null}   {"call": "history", "arguments": […], "number": 1}   {"close": true}
 *     out: {"wants": "token"}  {"status": …}  {"equity": …}  {"problem": …}  {"answer": {"number", "result" | "error"}}
 *
 * For the tests that run it against a real bridge, with patience for a slow machine.
 */

import { createInterface } from "node:readline";

import { createClient, RequestRefused, type Client } from "../src/index.js";

interface Command {
  readonly token?: string | null;
  readonly call?: string;
  readonly arguments?: readonly unknown[];
  readonly number?: number;
  readonly close?: true;
}

function say(line: Readonly<Record<string, unknown>>): void {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

const wanting: ((token: string | null) => void)[] = [];

function fetchToken(): Promise<string | null> {
  say({ wants: "token" });
  return new Promise((resolve) => wanting.push(resolve));
}

async function call(client: Client, name: string, given: readonly unknown[], number: number): Promise<void> {
  try {
    say({ answer: { number, result: await ask(client, name, given) } });
  } catch (error) {
    const code = error instanceof RequestRefused ? error.code : null;
    const failure = error instanceof Error ? { name: error.name, message: error.message, code } : String(error);
    say({ answer: { number, error: failure } });
  }
}

async function ask(client: Client, name: string, given: readonly unknown[]): Promise<unknown> {
  if (name === "historyPages") {
    const pages = [];
    for await (const page of client.historyPages(...(given as Parameters<Client["historyPages"]>))) pages.push(page);
    return pages;
  }
  const methods = client as unknown as Record<string, ((...given: readonly unknown[]) => unknown) | undefined>;
  const method = methods[name];
  if (method === undefined) throw new TypeError(`the client has no method ${name}`);
  return await method.apply(client, [...given]);
}

const [url] = process.argv.slice(2);
if (url === undefined) throw new TypeError("expected the socket's address as the only argument");

const client = createClient({
  url,
  token: fetchToken,
  policy: { tokenMs: 60_000, handshakeMs: 60_000, pongMs: 60_000, callMs: 60_000, retryMaxMs: 1_000 },
  onProblem: (problem) => say({ problem }),
});
client.onStatus((status) => say({ status }));
client.subscribe((equity) => say({ equity }));

const commands = createInterface({ input: process.stdin });
commands.on("line", (line) => {
  const command = JSON.parse(line) as Command;
  if (command.token !== undefined) wanting.shift()?.(command.token);
  if (command.call !== undefined) void call(client, command.call, command.arguments ?? [], command.number ?? 0);
  if (command.close === true) commands.close();
});
// Also when nobody is left to command it: it must not outlive the test.
commands.on("close", () => {
  client.close();
  process.stdin.destroy();
});
