/** What the demo's bridge offers beside the protocol: anyone's token, and names. Elsewhere it offers none of it. */

/** An id and the name that people know it by. */
export interface Named {
  readonly id: number;
  readonly name: string;
}

/** The demo's accounts; empty if this is no demo. */
export async function demoAccounts(): Promise<readonly Named[]> {
  return namedList(await fetchJson("/demo/accounts"));
}

/** Names of the demo's symbols by their ids; empty if this is no demo. */
export async function demoSymbols(): Promise<ReadonlyMap<number, string>> {
  return new Map(namedList(await fetchJson("/demo/symbols")).map(({ id, name }) => [id, name]));
}

/** A token of one of the demo's accounts. */
export async function demoToken(accountId: number): Promise<string> {
  const answer = await fetchJson(`/demo/token?account=${accountId}`);
  if (isObject(answer) && typeof answer["token"] === "string") return answer["token"];
  throw new Error(`the demo gives no token of account ${accountId}`);
}

/** What a path answers; null if it is not there, or not to be had now. */
async function fetchJson(path: string): Promise<unknown> {
  try {
    const answer = await fetch(path, { signal: AbortSignal.timeout(FETCH_MS) });
    return answer.ok ? await answer.json() : null;
  } catch {
    return null;
  }
}

const FETCH_MS = 10_000;

function namedList(value: unknown): readonly Named[] {
  if (!Array.isArray(value)) return [];
  return value.filter(isNamed);
}

function isNamed(value: unknown): value is Named {
  return isObject(value) && Number.isSafeInteger(value["id"]) && typeof value["name"] === "string";
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null;
}
