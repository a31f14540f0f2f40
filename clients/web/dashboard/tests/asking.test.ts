import assert from "node:assert/strict";
import { test } from "node:test";

import { TokenDesk } from "../desk.js";
import { Refresher } from "../refresher.js";

/** Lets everything that is ready run. */
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

class Asked {
  now = 0;
  count = 0;
  #settle: ((failed: boolean) => void) | null = null;

  readonly refresher = new Refresher(
    1_000,
    () => {
      this.count += 1;
      return new Promise((resolve, reject) => {
        this.#settle = (failed) => (failed ? reject(new Error("no")) : resolve());
      });
    },
    () => this.now,
  );

  async answer(failed = false): Promise<void> {
    this.#settle?.(failed);
    await settled();
  }
}

test("what is wanted is asked for at once, and then no oftener than it may be", async () => {
  const asked = new Asked();
  asked.refresher.run();
  assert.equal(asked.count, 1);
  await asked.answer();
  asked.refresher.want();
  assert.equal(asked.count, 1, "not yet");
  asked.now = 1_000;
  asked.refresher.run();
  assert.equal(asked.count, 2);
  await asked.answer();
  asked.now = 9_000;
  asked.refresher.run();
  assert.equal(asked.count, 2, "nobody wants it");
});

test("there is one request at a time, and what a person wants meanwhile is asked for right after it", async () => {
  const asked = new Asked();
  asked.refresher.run();
  asked.refresher.wantNow();
  asked.refresher.wantNow();
  assert.equal(asked.count, 1);
  await asked.answer();
  assert.equal(asked.count, 2);
});

test("what failed is asked for again in its turn", async () => {
  const asked = new Asked();
  asked.refresher.run();
  await asked.answer(true);
  assert.equal(asked.count, 1);
  asked.now = 1_000;
  asked.refresher.run();
  assert.equal(asked.count, 2);
});

test("a token is presented again after a lost connection, without asking the person", () => {
  let askedPerson = 0;
  const desk = new TokenDesk("first", () => (askedPerson += 1));
  assert.deepEqual([desk.provide(false), desk.provide(false)], ["first", "first"]);
  assert.equal(askedPerson, 0);
  assert.equal(desk.take("unasked"), false);
});

test("in place of one that has expired the person is asked for another", async () => {
  let askedPerson = 0;
  const desk = new TokenDesk("first", () => (askedPerson += 1));
  const promised = desk.provide(true);
  assert.equal(askedPerson, 1);
  assert.equal(desk.take("second"), true);
  assert.equal(await promised, "second");
  assert.equal(desk.provide(false), "second");
});
