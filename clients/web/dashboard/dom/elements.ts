/** The few things that every part of the page does with elements. Text is set as text, never as markup. */

import type { Amount } from "../view/overview.js";

type Kind<T extends HTMLElement> = abstract new () => T;

/** The element of the page that has an id. */
export function find<T extends HTMLElement>(id: string, kind: Kind<T>): T {
  const found = document.getElementById(id);
  if (!(found instanceof kind)) throw new Error(`the page has no ${kind.name} with the id ${id}`);
  return found;
}

/** Set a text; an element that shows it already is left alone, so that nothing is read out twice. */
export function setText(element: Element, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

/** Set a text, and show the element only if there is one. */
export function setOptionalText(element: HTMLElement, text: string): void {
  setText(element, text);
  element.hidden = text === "";
}

/** Show an amount, with its cents as the element's value for who reads it by program. */
export function setAmount(element: HTMLDataElement, amount: Amount): void {
  element.value = String(amount.cents);
  setText(element, amount.text);
}

/** A new element with a text. */
export function create<Tag extends keyof HTMLElementTagNameMap>(tag: Tag, text = ""): HTMLElementTagNameMap[Tag] {
  const element = document.createElement(tag);
  element.textContent = text;
  return element;
}

/** A new table row whose cells have their roles: a table that is laid out as a list would lose them. */
export function createRow(heading: HTMLTableCellElement, cells: readonly HTMLTableCellElement[]): HTMLTableRowElement {
  const row = create("tr");
  row.role = "row";
  heading.role = "rowheader";
  heading.scope = "row";
  for (const cell of cells) cell.role ??= "cell";
  row.append(...cells);
  return row;
}

/**
 * Make the children of an element those of a list: elements are kept by their keys, so that a selection or a focus in
 * them outlives the change.
 */
export function reconcile<Item>(
  parent: HTMLElement,
  items: readonly Item[],
  keyOf: (item: Item) => string,
  make: (item: Item) => HTMLElement,
  fill: (element: HTMLElement, item: Item) => void,
): void {
  const before = new Map<string, HTMLElement>();
  for (const child of parent.children) {
    if (child instanceof HTMLElement) before.set(child.dataset["key"] ?? "", child);
  }
  const wanted = items.map((item) => {
    const key = keyOf(item);
    const element = before.get(key) ?? make(item);
    element.dataset["key"] = key;
    fill(element, item);
    return element;
  });
  const same =
    wanted.length === parent.children.length && wanted.every((child, index) => child === parent.children[index]);
  if (!same) parent.replaceChildren(...wanted);
}
