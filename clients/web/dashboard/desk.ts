/**
 * The token of a person who signs in by hand: kept in this object alone, never in an address or a storage.
 *
 * It is presented again after a lost connection. Once it has expired the person is asked for another one, which goes to
 * whoever waits for it.
 */

/** Keeps one token, and asks for another when it has expired. */
export class TokenDesk {
  readonly #askPerson: () => void;
  #token: string;
  #waiting: ((token: string) => void) | null = null;

  /** @param askPerson Has the person shown where to paste a new token. */
  constructor(token: string, askPerson: () => void) {
    this.#token = token;
    this.#askPerson = askPerson;
  }

  /**
   * A token to present.
   *
   * @param expired True if the one that was given last is no longer good: then the answer comes when the person does.
   */
  provide(expired: boolean): Promise<string> | string {
    if (!expired) return this.#token;
    this.#askPerson();
    return new Promise((resolve) => {
      this.#waiting = resolve;
    });
  }

  /** Take a new token of the person; false if nobody waits for one. */
  take(token: string): boolean {
    const waiting = this.#waiting;
    if (waiting === null) return false;
    this.#waiting = null;
    this.#token = token;
    waiting(token);
    return true;
  }
}
