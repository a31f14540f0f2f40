/** The form for a token. What is pasted goes to whoever signs in, and is nowhere else. */

import { find, setText } from "./elements.js";

/** Asks for a token when told to. */
export class SignInForm {
  readonly #form = find("sign-in", HTMLFormElement);
  readonly #token = find("token", HTMLInputElement);
  readonly #why = find("sign-in-why", HTMLElement);
  readonly #usual = this.#why.textContent;

  constructor(onToken: (token: string) => void) {
    this.#form.onsubmit = (event) => {
      event.preventDefault();
      const token = this.#token.value.trim();
      this.#token.value = "";
      if (token !== "") onToken(token);
    };
  }

  /** Show the form, with the reason if there is one. */
  ask(why: string): void {
    setText(this.#why, why === "" ? this.#usual : why);
    const wasHidden = this.#form.hidden;
    this.#form.hidden = false;
    document.documentElement.toggleAttribute("data-signed-out", true);
    if (wasHidden) this.#token.focus();
  }

  /** Hide it; whoever goes by keyboard goes on with the numbers. */
  hide(): void {
    const hadFocus = this.#form.contains(document.activeElement);
    this.#form.hidden = true;
    if (hadFocus) find("main", HTMLElement).focus({ preventScroll: true });
    document.documentElement.toggleAttribute("data-signed-out", false);
  }
}
