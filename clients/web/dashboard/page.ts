/** The page's cards, made once; whichever account is followed shows itself on them. */

import type { Ending, LeaderboardRange } from "../src/index.js";
import { CourseCard } from "./dom/course.js";
import { Header } from "./dom/header.js";
import { HoldingsCard } from "./dom/holdings.js";
import { OverviewCard } from "./dom/overview.js";
import { RankingCard } from "./dom/ranking.js";
import { Switch } from "./dom/switch.js";
import { bindTheme } from "./dom/theme.js";
import type { Badge } from "./view/badge.js";

const RANKING_RANGES = [
  { value: "1D", label: "1D", spoken: "today" },
  { value: "1W", label: "1W", spoken: "one week" },
  { value: "1M", label: "1M", spoken: "one month" },
  { value: "ALL", label: "All", spoken: "since the beginning" },
] as const;

/** What the reader does on the page. */
export interface PageEvents {
  readonly onRange: () => void;
  readonly onRankingRange: () => void;
  /** There will be no further attempt to connect; `wasIn` is true if there had been numbers. */
  readonly onEnding: (ending: Ending, wasIn: boolean) => void;
}

/** All of it. */
export class Page {
  readonly header = new Header();
  readonly overview = new OverviewCard();
  readonly holdings = new HoldingsCard();
  readonly ranking = new RankingCard();
  readonly course: CourseCard;
  readonly #events: PageEvents;
  readonly #rankingRanges: Switch<LeaderboardRange>;

  constructor(events: PageEvents) {
    this.#events = events;
    this.course = new CourseCard(events.onRange);
    this.#rankingRanges = new Switch<LeaderboardRange>("board-ranges", RANKING_RANGES, "1D", () => {
      this.ranking.clear();
      events.onRankingRange();
    });
    bindTheme(() => this.course.recolour());
    this.clear();
  }

  get rankingRange(): LeaderboardRange {
    return this.#rankingRanges.value;
  }

  showBadge(badge: Badge): void {
    this.header.showBadge(badge);
    this.overview.setDimmed(badge.dimmed);
    this.holdings.setDimmed(badge.dimmed);
  }

  showEnding(ending: Ending, wasIn: boolean): void {
    this.#events.onEnding(ending, wasIn);
  }

  /** As before the first answer about an account. */
  clear(): void {
    this.header.showWho(null);
    this.header.showNotices([]);
    this.header.showFreshness("");
    this.overview.clear();
    this.course.clear();
    this.holdings.clear();
    this.ranking.clear();
  }
}
