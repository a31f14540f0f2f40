/** A row of buttons of which one is pressed. */

import { create, find } from "./elements.js";

/** One of a few choices. */
export interface Choice<Value extends string> {
  readonly value: Value;
  readonly label: string;
  /** What a screen reader adds to a label that is an abbreviation. */
  readonly spoken: string;
}

/** Lets the reader choose; tells only what was chosen anew. */
export class Switch<Value extends string> {
  readonly #buttons: ReadonlyMap<Value, HTMLButtonElement>;
  #value: Value;

  constructor(id: string, choices: readonly Choice<Value>[], value: Value, onChoice: (value: Value) => void) {
    this.#value = value;
    this.#buttons = new Map(
      choices.map((choice) => {
        const button = create("button", choice.label);
        button.type = "button";
        // The label stays part of the name: who speaks to the page says what is written on it.
        if (choice.spoken !== choice.label) button.ariaLabel = `${choice.label}, ${choice.spoken}`;
        button.onclick = () => {
          if (choice.value === this.#value) return;
          this.#value = choice.value;
          this.#press();
          onChoice(choice.value);
        };
        return [choice.value, button];
      }),
    );
    find(id, HTMLElement).replaceChildren(...this.#buttons.values());
    this.#press();
  }

  get value(): Value {
    return this.#value;
  }

  #press(): void {
    for (const [value, button] of this.#buttons) button.ariaPressed = String(value === this.#value);
  }
}
