/** Where the page begins: in the demo with a choice of accounts, elsewhere by signing in with a token. */

import { createClient, type Client, type ClientOptions, type Ending } from "../src/index.js";
import { FollowedAccount } from "./account.js";
import { demoAccounts, demoSymbols, demoToken, type Named } from "./demo.js";
import { TokenDesk } from "./desk.js";
import { find } from "./dom/elements.js";
import { SignInForm } from "./dom/sign_in.js";
import { Page } from "./page.js";
import { SIGNED_OUT, signInReason } from "./view/badge.js";
import { ClusterWatch } from "./watch.js";

const TICK_MS = 1_000;

/** The page, and whoever is followed on it. */
class Dashboard {
  readonly page: Page;
  readonly #names: ReadonlyMap<number, string>;
  #followed: FollowedAccount | null = null;
  #client: Client | null = null;

  constructor(names: ReadonlyMap<number, string>, onEnding: (ending: Ending, wasIn: boolean) => void) {
    this.#names = names;
    this.page = new Page({
      onRange: () => this.#followed?.changeRange(),
      onRankingRange: () => this.#followed?.changeRanking(),
      onEnding,
    });
    setInterval(() => this.#followed?.tick(), TICK_MS);
    const nudge = (): void => this.#client?.nudge();
    addEventListener("online", nudge);
    document.addEventListener("visibilitychange", () => {
      if (document.visibilityState === "visible") nudge();
    });
  }

  /** Follow the account that a token is of, and nobody else any more. */
  follow(options: Omit<ClientOptions, "url">): void {
    this.#followed?.end();
    this.#client = createClient({ ...options, url: socketAddress() });
    this.#followed = new FollowedAccount(this.#client, this.page, this.#names);
  }

  /** True while the bridge lets the account in: a token that is asked for then is to replace one that has expired. */
  get isIn(): boolean {
    const kind = this.#client?.status.kind;
    return kind === "live" || kind === "stale";
  }
}

function socketAddress(): string {
  return `${location.protocol === "https:" ? "wss:" : "ws:"}//${location.host}/ws`;
}

/** Any account may be chosen; which one stands in the address, so that two windows may show two. */
function startDemo(accounts: readonly [Named, ...Named[]], names: ReadonlyMap<number, string>): void {
  const dashboard = new Dashboard(names, () => undefined);
  const chooser = find("account", HTMLSelectElement);
  for (const { id, name } of accounts) chooser.add(new Option(name, String(id)));
  const followAddress = (): void => {
    const asked = location.hash.slice(1);
    const { id } = accounts.find((account) => String(account.id) === asked) ?? accounts[0];
    chooser.value = String(id);
    dashboard.follow({ token: () => demoToken(id) });
  };
  chooser.onchange = () => {
    location.hash = chooser.value;
  };
  addEventListener("hashchange", followAddress);
  find("chooser", HTMLElement).hidden = false;
  followAddress();
  watchCluster((accounts.at(-1) ?? accounts[0]).id);
}

/**
 * Show the cluster behind the bridge, if there is one. By a socket of its own: answers of one come in order, and those
 * about an account wait while its shard changes hands.
 */
function watchCluster(accountId: number): void {
  const watch = new ClusterWatch(createClient({ url: socketAddress(), token: () => demoToken(accountId) }));
  setInterval(() => watch.tick(), TICK_MS);
}

/** The account is that of the token; nothing of it outlives the page. */
function startWithToken(): void {
  let desk: TokenDesk | null = null;
  const form = new SignInForm((token) => {
    form.hide();
    if (desk?.take(token)) return;
    const asked = (desk = new TokenDesk(token, () =>
      form.ask("Your session is about to expire. Paste a new token to go on."),
    ));
    // One refusal is enough: the same token would be refused again.
    dashboard.follow({ token: () => asked.provide(dashboard.isIn), policy: { refusalsMax: 1 } });
  });
  const dashboard = new Dashboard(new Map(), (ending, wasIn) => {
    desk = null;
    form.ask(signInReason(ending, wasIn));
  });
  dashboard.page.showBadge(SIGNED_OUT);
  form.ask("");
}

const [first, ...others] = await demoAccounts();
if (first === undefined) startWithToken();
else startDemo([first, ...others], await demoSymbols());
