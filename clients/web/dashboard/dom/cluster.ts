/** The card that shows a cluster; there only in the demo of one. */

import { COLOURS, type Cell, type ClusterView, type Owner } from "../view/cluster.js";
import type { Line } from "../view/moves.js";
import { create, createRow, find, reconcile, setOptionalText, setText } from "./elements.js";

/** Shows who owns what, and what has become of it lately. */
export class ClusterCard {
  readonly #card = find("cluster", HTMLElement);
  readonly #tally = find("cluster-tally", HTMLElement);
  readonly #cells = find("cells", HTMLElement);
  readonly #owners = find("owners", HTMLElement);
  readonly #moves = find("moves", HTMLElement);
  readonly #note = find("cluster-note", HTMLElement);
  readonly #kill = find("kill", HTMLButtonElement);

  /** @param onKill A worker is to be killed. */
  constructor(onKill: () => void) {
    this.#kill.onclick = onKill;
  }

  show(view: ClusterView, lines: readonly Line[]): void {
    reconcile(this.#cells, view.cells, ({ shard }) => String(shard), newCell, fillCell);
    if (this.#cells.ariaLabel !== view.words) this.#cells.ariaLabel = view.words;
    reconcile(this.#owners, view.owners, ({ name }) => name, newOwner, fillOwner);
    reconcile(this.#moves, lines, ({ key }) => key, newLine, fillLine);
    setText(this.#tally, view.tally);
    this.#card.removeAttribute("data-dimmed");
    this.#card.hidden = false;
  }

  /** What is shown may be old. */
  dim(): void {
    this.#card.setAttribute("data-dimmed", "");
  }

  /** What became of the button; empty for nothing. */
  showNote(text: string): void {
    setOptionalText(this.#note, text);
  }

  setKilling(killing: boolean): void {
    this.#kill.disabled = killing;
  }
}

function newCell(): HTMLElement {
  return create("span");
}

function fillCell(cell: HTMLElement, { colour, mark, state, title }: Cell): void {
  setColour(cell, colour);
  cell.dataset["state"] = state;
  if (cell.title !== title) cell.title = title;
  setText(cell, mark);
}

function newOwner(): HTMLElement {
  const name = create("th");
  const mark = create("span");
  mark.className = "swatch";
  // What is written on it is the end of the name beside it, or stands for it in the picture above.
  mark.ariaHidden = "true";
  name.append(mark, create("span"));
  return createRow(name, [name, create("td"), create("td"), create("td"), create("td")]);
}

function fillOwner(row: HTMLElement, owner: Owner): void {
  const [name, ...numbers] = row.children;
  const [mark, text] = name?.children ?? [];
  if (!(mark instanceof HTMLElement && text)) throw new Error("a row of workers lacks its name");
  setColour(mark, owner.colour);
  mark.dataset["state"] = owner.state;
  setText(mark, owner.mark);
  setText(text, owner.state === "quiet" ? `${owner.name} (not heard)` : owner.name);
  for (const [index, value] of [owner.shards, owner.behind, owner.applied, owner.stored].entries()) {
    const cell = numbers[index];
    if (cell) setText(cell, value);
  }
}

function newLine(): HTMLElement {
  const line = create("li");
  line.append(create("time"), create("span"));
  return line;
}

function fillLine(line: HTMLElement, { time, text }: Line): void {
  const [when, what] = line.children;
  if (when && what) {
    setText(when, time);
    setText(what, text);
  }
}

function setColour(element: HTMLElement, colour: number | null): void {
  element.dataset["colour"] = colour === null ? "" : String(colour % COLOURS);
}
