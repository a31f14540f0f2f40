/** The card with the leaderboard. */

import type { Place, Ranking } from "../view/ranking.js";
import { create, createRow, find, reconcile, setText } from "./elements.js";

/** Shows the first places. */
export class RankingCard {
  readonly #places = find("places", HTMLElement);
  readonly #note = find("board-note", HTMLElement);

  show(ranking: Ranking): void {
    reconcile(this.#places, ranking.places, ({ key }) => key, newPlace, fillPlace);
    setText(this.#note, ranking.note);
  }

  /** Why there is nothing to show; what is shown already stays unless it answers another question. */
  showProblem(text: string): void {
    if (this.#places.children.length === 0) setText(this.#note, text);
  }

  /** As before the first answer. */
  clear(): void {
    this.#places.replaceChildren();
    setText(this.#note, "Loading the leaderboard");
  }
}

function newPlace(): HTMLElement {
  const named = create("div");
  named.append(create("span"), create("span"));
  const name = create("th");
  name.append(named);
  return createRow(name, [create("td"), name, create("td")]);
}

function fillPlace(row: HTMLElement, place: Place): void {
  const [rank, name, change] = row.children;
  row.toggleAttribute("data-own", place.own);
  row.toggleAttribute("data-apart", place.apart);
  const [text, badge] = name?.firstElementChild?.children ?? [];
  if (!(rank && text && badge && change instanceof HTMLElement)) return;
  setText(rank, place.rank);
  setText(text, place.name);
  setText(badge, place.own ? "you" : "");
  badge.className = place.own ? "kind" : "";
  setText(change, place.change);
  change.dataset["direction"] = place.direction;
}
