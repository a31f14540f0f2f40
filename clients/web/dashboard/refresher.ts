/** Asks for something again when it has changed, one request at a time and never too often. */

/** Times in milliseconds of a clock that does not step back. */
export class Refresher {
  readonly #everyMs: number;
  readonly #load: () => Promise<void>;
  readonly #now: () => number;
  #wanted = true;
  #running = false;
  #notBefore = -Infinity;

  /**
   * @param everyMs Least time from one request to the next.
   * @param load Asks, and shows the answer or what went wrong; if it fails it is asked again in its turn.
   * @param now Tells the time.
   */
  constructor(everyMs: number, load: () => Promise<void>, now: () => number) {
    this.#everyMs = everyMs;
    this.#load = load;
    this.#now = now;
  }

  /** What is shown is out of date. */
  want(): void {
    this.#wanted = true;
    this.run();
  }

  /** As `want`, without waiting for the turn: a person has asked. */
  wantNow(): void {
    this.#notBefore = -Infinity;
    this.want();
  }

  /** Ask if it is wanted and due; to be called now and then. */
  run(): void {
    if (!this.#wanted || this.#running || this.#now() < this.#notBefore) return;
    this.#wanted = false;
    this.#running = true;
    this.#notBefore = this.#now() + this.#everyMs;
    this.#load()
      .catch(() => {
        this.#wanted = true;
      })
      .finally(() => {
        this.#running = false;
        // What became wanted meanwhile is due at once if a person asked for it.
        this.run();
      });
  }
}
