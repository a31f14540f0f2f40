/**
 * One account, followed: what its client says goes to the cards, and what they want is asked for.
 *
 * Lives here: which answer is out of date when. Not here: the connection (the client), what is shown (`view`), how
 * (`dom`). A change of version makes positions and figures out of date, a gap makes history so; each is asked for again
 * at a bounded rate, well below what the bridge allows.
 */

import {
  EvsError,
  type Cents,
  type Client,
  type EquityFrame,
  type Performance,
  type Positions,
  type Status,
} from "../src/index.js";
import { loadHistory } from "./chart/history.js";
import type { Page } from "./page.js";
import { Refresher } from "./refresher.js";
import { badgeOf, freshnessOf } from "./view/badge.js";
import { figuresOf } from "./view/figures.js";
import { holdingsOf } from "./view/holdings.js";
import { noticesOf } from "./view/notices.js";
import { balance, overviewOf } from "./view/overview.js";
import { reasonOf } from "./view/problems.js";
import { rankingOf } from "./view/ranking.js";

const POSITIONS_MS = 2_000;
const SUMMARY_MS = 30_000;
const PERFORMANCE_MS = 10_000;
const RANKING_MS = 15_000;
const HISTORY_MS = 10_000;

/** History is asked for again after so long in any case: rows appear in it once they are stored. */
const HISTORY_STALE_MS = 300_000;

/** Follows the account of a client until it is ended. */
export class FollowedAccount {
  readonly #client: Client;
  readonly #page: Page;
  readonly #names: ReadonlyMap<number, string>;
  readonly #positions: Refresher;
  readonly #summary: Refresher;
  readonly #performance: Refresher;
  readonly #ranking: Refresher;
  readonly #history: Refresher;
  #held: { readonly positions: Positions; readonly atMs: number } | null = null;
  #performed: Performance | null = null;
  /** What the account may spend beyond its cash. */
  #credit: Cents | null = null;
  #valuedMs: number | null = null;
  #lostMs: number | null = null;
  #wasIn = false;
  #historyMs = -Infinity;
  #ended = false;

  constructor(client: Client, page: Page, names: ReadonlyMap<number, string>) {
    const now = (): number => performance.now();
    this.#client = client;
    this.#page = page;
    this.#names = names;
    this.#positions = new Refresher(POSITIONS_MS, () => this.#loadPositions(), now);
    this.#summary = new Refresher(SUMMARY_MS, () => this.#loadSummary(), now);
    this.#performance = new Refresher(PERFORMANCE_MS, () => this.#loadPerformance(), now);
    this.#ranking = new Refresher(RANKING_MS, () => this.#loadRanking(), now);
    this.#history = new Refresher(HISTORY_MS, () => this.#loadHistory(), now);
    page.clear();
    client.onStatus((status) => this.#showStatus(status));
    client.subscribe((frame) => this.#take(frame));
  }

  /** True once the bridge has let the account in. */
  get wasIn(): boolean {
    return this.#wasIn;
  }

  /** Once a second: what grows older, and what is due. */
  tick(): void {
    this.#page.header.showFreshness(freshnessOf(this.#valuedMs, Date.now()));
    this.#showPositions();
    if (performance.now() - this.#historyMs > HISTORY_STALE_MS) this.#history.want();
    for (const refresher of this.#refreshers) refresher.run();
  }

  /** Another range of the chart is wanted. */
  changeRange(): void {
    this.#performed = null;
    this.#history.wantNow();
    this.#performance.wantNow();
  }

  /** Another range of the leaderboard is wanted. */
  changeRanking(): void {
    this.#ranking.wantNow();
  }

  /** Follow it no longer. */
  end(): void {
    this.#ended = true;
    this.#client.close();
  }

  get #refreshers(): readonly Refresher[] {
    if (!this.#wasIn || this.#client.status.kind === "closed") return [];
    return [this.#positions, this.#summary, this.#performance, this.#ranking, this.#history];
  }

  // --- what the client says ------------------------------------------------------------------------------------

  #showStatus(status: Status): void {
    if (this.#ended) return;
    const wasLost = this.#lostMs !== null && this.#client.equity !== null;
    if (status.kind === "live") this.#lostMs = null;
    else if (this.#wasIn) this.#lostMs ??= Date.now();
    if (status.kind === "live" || status.kind === "stale") this.#wasIn = true;
    if (status.kind === "live" && wasLost) for (const refresher of this.#refreshers) refresher.wantNow();
    const badge = badgeOf(status, this.#wasIn ? this.#lostMs : null);
    this.#page.showBadge(badge);
    if (status.kind === "closed") this.#page.showEnding(status.ending, this.#wasIn);
  }

  #take(frame: EquityFrame): void {
    if (this.#ended) return;
    const { header, overview, course } = this.#page;
    overview.show(overviewOf(frame));
    overview.showOrigin(frame);
    header.showWho(frame.data.account_id);
    header.showNotices(noticesOf(frame.flags));
    // A change has just been made; a snapshot may have been made long ago, and says when, if in whole seconds.
    this.#valuedMs = frame.snapshot ? Math.min(Date.now(), frame.data.timestamp * 1_000) : Date.now();
    header.showFreshness(freshnessOf(this.#valuedMs, Date.now()));
    const change = course.follow(frame.data);
    if (change === "behind" || change === "rolled" || frame.snapshot) this.#history.want();
    this.#showBuyingPower();
    this.#summary.want();
    if (frame.version !== this.#held?.positions.version) this.#positions.want();
    this.#showFigures();
    this.#performance.want();
    this.#ranking.want();
  }

  // --- what is asked -------------------------------------------------------------------------------------------

  async #loadPositions(): Promise<void> {
    await this.#ask(
      () => this.#client.positions(),
      (positions) => {
        this.#held = { positions, atMs: Date.now() };
        this.#showPositions();
      },
      (reason) => this.#page.holdings.showProblem(`Positions cannot be shown. ${reason}`),
    );
  }

  #showPositions(): void {
    if (this.#held === null) return;
    const { positions, atMs } = this.#held;
    this.#page.holdings.show(holdingsOf(positions, this.#names, atMs, Date.now()));
  }

  async #loadSummary(): Promise<void> {
    await this.#ask(
      () => this.#client.summary(),
      (summary) => {
        this.#credit = (summary.buying_power - summary.balance) as Cents;
        this.#showBuyingPower();
      },
      () => undefined, // the card says that it is dimmed, or has no number yet
    );
  }

  /** It moves with the cash of each value; only what lies between the two is asked for. */
  #showBuyingPower(): void {
    const cash = this.#client.equity?.data.cash_balance;
    if (cash === undefined || this.#credit === null) return;
    this.#page.overview.showBuyingPower(balance((cash + this.#credit) as Cents));
  }

  async #loadHistory(): Promise<void> {
    const range = this.#page.course.range;
    await this.#ask(
      () => loadHistory(this.#client, range),
      ({ resolution, points }) => {
        if (range !== this.#page.course.range) return;
        this.#historyMs = performance.now();
        this.#page.course.load(resolution, points, this.#client.equity?.data ?? null);
      },
      (reason) => this.#page.course.showProblem(`History cannot be shown. ${reason}`),
    );
    if (range !== this.#page.course.range) this.#history.wantNow();
  }

  async #loadPerformance(): Promise<void> {
    const range = this.#page.course.range;
    await this.#ask(
      () => this.#client.performance({ range }),
      (performance) => {
        if (range !== this.#page.course.range) return;
        this.#performed = performance;
        this.#showFigures();
      },
      (reason) => this.#page.course.showFiguresProblem(`Returns over this range cannot be shown. ${reason}`),
    );
    if (range !== this.#page.course.range) this.#performance.wantNow();
  }

  #showFigures(): void {
    if (this.#performed === null) return;
    const today = this.#page.course.range === "1D" ? this.#client.equity : null;
    this.#page.course.showFigures(figuresOf(this.#performed, today));
  }

  async #loadRanking(): Promise<void> {
    const range = this.#page.rankingRange;
    await this.#ask(
      () => this.#client.leaderboard({ range, limit: 10 }),
      (board) => {
        if (range === this.#page.rankingRange) this.#page.ranking.show(rankingOf(board, Date.now()));
      },
      (reason) => this.#page.ranking.showProblem(`The leaderboard cannot be shown. ${reason}`),
    );
    if (range !== this.#page.rankingRange) this.#ranking.wantNow();
  }

  /** Ask, and show the answer or the problem; fails if it is worth asking again. */
  async #ask<Answer>(
    ask: () => Promise<Answer>,
    show: (answer: Answer) => void,
    showProblem: (reason: string) => void,
  ): Promise<void> {
    let answer: Answer;
    try {
      answer = await ask();
    } catch (error) {
      if (!(error instanceof EvsError) || this.#ended) throw error;
      showProblem(reasonOf(error));
      throw error;
    }
    if (!this.#ended) show(answer);
  }
}
