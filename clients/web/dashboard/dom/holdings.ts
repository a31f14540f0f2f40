/** The card with the table of positions. */

import type { Amount } from "../view/overview.js";
import type { Holdings, Line } from "../view/holdings.js";
import { create, createRow, find, reconcile, setOptionalText, setText } from "./elements.js";

/** The cells of a line after its name; a narrow screen shows their labels, since it has no room for a head. */
const CELLS = [
  ["quantity", "Shares"],
  ["cost", "Average cost"],
  ["price", "Price"],
  ["value", "Value"],
  ["unrealized", "Unrealized"],
  ["realized", "Realized"],
] as const;

/** Shows positions; closed ones only while the reader wants them. */
export class HoldingsCard {
  readonly #card = find("positions", HTMLElement);
  readonly #table = find("holdings", HTMLElement);
  readonly #lines = find("lines", HTMLElement);
  readonly #totals = find("totals", HTMLElement);
  readonly #tally = find("tally", HTMLElement);
  readonly #closed = find("closed", HTMLButtonElement);
  readonly #state = find("positions-state", HTMLElement);
  #holdings: Holdings | null = null;
  #showsClosed = false;

  constructor() {
    this.#closed.onclick = () => {
      this.#showsClosed = !this.#showsClosed;
      if (this.#holdings !== null) this.show(this.#holdings);
    };
  }

  show(holdings: Holdings): void {
    this.#holdings = holdings;
    const shown = holdings.lines.filter(({ kind }) => kind !== "closed" || this.#showsClosed);
    reconcile(this.#lines, shown, ({ key }) => String(key), newLine, fillLine);
    reconcile(this.#totals, [holdings], () => "totals", newTotals, fillTotals);
    this.#table.hidden = shown.length === 0;
    this.#showToggle(holdings.closedCount);
    setText(this.#tally, `${holdings.openCount} open, as of ${holdings.asOf}`);
    setOptionalText(this.#state, shown.length > 0 ? "" : "No open positions. What you buy shows up here.");
    this.#card.dataset["version"] = String(holdings.version);
  }

  /** Why there is nothing to show yet; what is shown already stays. */
  showProblem(text: string): void {
    if (this.#holdings === null) setOptionalText(this.#state, text);
  }

  setDimmed(dimmed: boolean): void {
    this.#card.toggleAttribute("data-dimmed", dimmed);
  }

  /** As before the first answer. */
  clear(): void {
    this.#holdings = null;
    this.#lines.replaceChildren();
    this.#totals.replaceChildren();
    this.#table.hidden = true;
    this.#closed.hidden = true;
    delete this.#card.dataset["version"];
    setText(this.#tally, "");
    setOptionalText(this.#state, "Loading positions");
  }

  #showToggle(closedCount: number): void {
    this.#closed.hidden = closedCount === 0;
    this.#closed.ariaPressed = String(this.#showsClosed);
    setText(this.#closed, `${this.#showsClosed ? "Hide" : "Show"} ${closedCount} closed`);
  }
}

function newLine(): HTMLElement {
  const name = create("th");
  name.append(create("span"), create("span"));
  const cells = CELLS.map(([kind, label]) => newCell(kind, label));
  const [, , price, , unrealized] = cells;
  price?.append(create("span"), create("small"));
  for (const cell of cells.slice(3)) cell.append(create("data"));
  unrealized?.append(create("small"));
  return createRow(name, [name, ...cells]);
}

function fillLine(row: HTMLElement, line: Line): void {
  row.dataset["symbol"] = String(line.key);
  row.dataset["kind"] = line.kind;
  const [name, quantity, cost, price, value, unrealized, realized] = row.children;
  const closed = line.kind === "closed";
  setText(part(name, 0), line.name);
  setText(part(name, 1), line.kind === "long" ? "" : line.kind);
  part(name, 1).className = line.kind === "long" ? "" : "kind";
  setText(cell(quantity), closed ? "" : line.quantity);
  setText(cell(cost), line.averageCost);
  setText(part(price, 0), closed ? "" : line.price);
  setText(part(price, 1), closed ? "" : line.priceNote);
  setCellAmount(value, line.value, closed);
  setCellAmount(unrealized, line.unrealized, closed);
  setText(part(unrealized, 1), closed ? "" : line.unrealizedPercent);
  setCellAmount(realized, line.realized, false);
}

function newCell(kind: string, label: string): HTMLTableCellElement {
  const created = create("td");
  created.dataset["cell"] = kind;
  created.dataset["label"] = label;
  return created;
}

function newTotals(): HTMLElement {
  const name = create("th", "Total");
  name.colSpan = 4;
  const cells = CELLS.slice(3).map(([kind, label]) => newCell(kind, label));
  for (const total of cells) total.append(create("data"));
  return createRow(name, [name, ...cells]);
}

function fillTotals(row: HTMLElement, holdings: Holdings): void {
  const [, value, unrealized, realized] = row.children;
  setCellAmount(value, holdings.value, false);
  setCellAmount(unrealized, holdings.unrealized, false);
  setCellAmount(realized, holdings.realized, false);
}

function setCellAmount(element: Element | undefined, amount: Amount, blank: boolean): void {
  const target = cell(element);
  const data = part(target, 0);
  target.dataset["direction"] = blank ? "flat" : amount.direction;
  if (data instanceof HTMLDataElement) data.value = String(amount.cents);
  setText(data, blank ? "" : amount.text);
}

function cell(element: Element | undefined): HTMLElement {
  if (!(element instanceof HTMLElement)) throw new Error("a row of positions lacks a cell");
  return element;
}

function part(element: Element | undefined, index: number): HTMLElement {
  return cell(cell(element).children[index]);
}
