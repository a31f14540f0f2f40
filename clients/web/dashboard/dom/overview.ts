/** The card that says what the account is worth. */

import type { EquityFrame } from "../../src/index.js";
import { clockTime, count } from "../format.js";
import type { Amount, Overview } from "../view/overview.js";
import { find, setAmount, setText } from "./elements.js";

/** Shows the newest value. */
export class OverviewCard {
  readonly #card = find("overview", HTMLElement);
  readonly #change = find("day-change", HTMLElement);
  readonly #changePercent = find("day-change-percent", HTMLElement);
  readonly #tick = find("tick", HTMLElement);
  readonly #valued = find("valued", HTMLElement);
  readonly #version = find("version", HTMLElement);

  show(overview: Overview): void {
    this.#card.removeAttribute("data-loading");
    this.#amount("total-equity", overview.equity, false);
    this.#amount("cash", overview.cash, true);
    this.#amount("position-value", overview.positionValue, true);
    this.#amount("unrealized", overview.unrealized, true);
    this.#amount("realized", overview.realized, true);
    this.#amount("day-change-amount", overview.dayChange, false);
    this.#change.dataset["direction"] = overview.dayChange.direction;
    setText(this.#changePercent, overview.dayPercent === "" ? "" : `(${overview.dayPercent})`);
    // Set last: whoever waits for a version finds the figures that belong to it.
    this.#card.dataset["version"] = String(overview.version);
    document.title = `${overview.equity.text} · Equity`;
  }

  showBuyingPower(amount: Amount): void {
    this.#amount("buying-power", amount, true);
  }

  /** What the small print at the end of the page says. */
  showOrigin(frame: EquityFrame): void {
    setText(this.#tick, count(frame.data.tick));
    setText(this.#valued, clockTime(frame.data.timestamp * 1_000));
    setText(this.#version, String(frame.version));
  }

  setDimmed(dimmed: boolean): void {
    this.#card.toggleAttribute("data-dimmed", dimmed);
  }

  /** As before the first value. */
  clear(): void {
    this.#card.setAttribute("data-loading", "");
    delete this.#card.dataset["version"];
    for (const data of this.#card.querySelectorAll("data")) {
      data.removeAttribute("value");
      delete data.dataset["direction"];
      setText(data, "–");
    }
    for (const element of [this.#tick, this.#valued, this.#version]) setText(element, "–");
    this.#change.dataset["direction"] = "flat";
    setText(this.#changePercent, "");
    document.title = "Equity";
  }

  #amount(id: string, amount: Amount, coloured: boolean): void {
    const element = find(id, HTMLDataElement);
    setAmount(element, amount);
    if (coloured) element.dataset["direction"] = amount.direction;
  }
}
