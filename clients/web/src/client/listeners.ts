/** Who wants to know: a set of listeners, none of which can keep the others from hearing. */

export type Listener<T> = (value: T) => void;

/** Ends what it was returned for; harmless the second time. */
export type Unsubscribe = () => void;

export class Listeners<T> {
  readonly #listeners = new Set<{ readonly hear: Listener<T> }>();

  add(hear: Listener<T>): Unsubscribe {
    const entry = { hear };
    this.#listeners.add(entry);
    return () => {
      this.#listeners.delete(entry);
    };
  }

  tell(value: T): void {
    for (const { hear } of [...this.#listeners]) tellOne(hear, value);
  }
}

/** Tell one listener; what it throws is thrown on its own, where the page reports it, as with any other event. */
export function tellOne<T>(hear: Listener<T>, value: T): void {
  try {
    hear(value);
  } catch (error) {
    void Promise.reject(error instanceof Error ? error : new Error(String(error)));
  }
}
