/** The bar on top, and what is said right beneath it: how fresh the numbers are, and what to know about them. */

import type { Badge } from "../view/badge.js";
import type { Notice } from "../view/notices.js";
import { create, find, reconcile, setOptionalText, setText } from "./elements.js";

/** Shows the state of the connection. */
export class Header {
  readonly #badge = find("badge", HTMLElement);
  readonly #freshness = find("freshness", HTMLElement);
  readonly #advice = find("advice", HTMLElement);
  readonly #notices = find("notices", HTMLElement);
  readonly #chooser = find("chooser", HTMLElement);
  readonly #who = find("who", HTMLElement);

  /** Whose numbers these are, where no chooser says so; null for nobody's. */
  showWho(accountId: number | null): void {
    setOptionalText(this.#who, accountId === null || !this.#chooser.hidden ? "" : `Account ${accountId}`);
  }

  showBadge(badge: Badge): void {
    this.#badge.dataset["kind"] = badge.kind;
    setText(this.#badge, badge.label);
    setOptionalText(this.#advice, badge.advice);
  }

  showFreshness(text: string): void {
    setText(this.#freshness, text);
  }

  showNotices(notices: readonly Notice[]): void {
    this.#notices.hidden = notices.length === 0;
    reconcile(
      this.#notices,
      notices,
      ({ flag }) => flag,
      () => create("li"),
      (item, { flag, weight, text }) => {
        item.dataset["flag"] = flag;
        item.dataset["weight"] = weight;
        setText(item, text);
      },
    );
  }
}
