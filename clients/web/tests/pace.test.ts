import assert from "node:assert/strict";
import { test } from "node:test";

import { dueIn, fullPace, refill, spend } from "../src/model/pace.js";
import { DEFAULT_POLICY } from "../src/model/policy.js";

const policy = { ...DEFAULT_POLICY, callsPerMinute: 60 };

test("as many requests as a minute allows go at once, then one for each part of it", () => {
  let pace = fullPace(policy, 1_000);
  for (let count = 0; count < 60; count += 1) {
    assert.equal(dueIn(pace, policy), 0);
    pace = spend(pace);
  }
  assert.equal(dueIn(pace, policy), 1_000);
  assert.equal(dueIn(refill(pace, policy, 1_400), policy), 600);
  assert.equal(dueIn(refill(pace, policy, 2_000), policy), 0);
});

test("a long rest earns no more than a minute allows, and a clock that steps back earns nothing", () => {
  const pace = fullPace(policy, 1_000);
  assert.equal(refill(spend(pace), policy, 10_000_000).credit, 60);
  assert.deepEqual(refill(spend(pace), policy, 500), { credit: 59, at: 500 });
});

test("the bridge's own bound, 100 a minute for each socket, is never reached", () => {
  // Ours beside theirs, asking whenever allowed, for ten minutes; a ping, a refresh and a subscription a minute on top.
  let ours = fullPace(DEFAULT_POLICY, 0);
  let theirs = 100;
  for (let now = 0; now < 600_000; now += 10) {
    theirs = Math.min(100, theirs + 10 / 600);
    ours = refill(ours, DEFAULT_POLICY, now);
    const ownRequests = now % 6_000 === 0 ? 1 : 0;
    for (theirs -= ownRequests; dueIn(ours, DEFAULT_POLICY) === 0; theirs -= 1) ours = spend(ours);
    assert.ok(theirs >= 0, `after ${now} ms`);
  }
});
