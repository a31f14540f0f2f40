import assert from "node:assert/strict";
import { test } from "node:test";

import type { Cluster, UnixMillis, VirtualShard } from "../../src/index.js";
import { parseResult } from "../../src/wire/methods.js";
import { golden } from "../../tests/golden.js";
import { clusterOf, COLOURS, placesAfter, QUIET_MS, span, type Places } from "../view/cluster.js";
import { linesOf, movesAfter, type Moves } from "../view/moves.js";

const NOW_MS = 1_700_000_000_000;
const NO_PLACES: Places = new Map();

function goldenCluster(): Cluster {
  const answer = JSON.parse(golden("cluster")) as { result: unknown };
  const parsed = parseResult("cluster.state", answer.result);
  assert.ok(parsed.ok, JSON.stringify(parsed));
  return parsed.value;
}

/** One look: whose each shard is, and what is particular about it. */
function look(atMs: number, owners: readonly string[], particular: Partial<VirtualShard> = {}): Cluster {
  const shards = owners.map((owner, shard): VirtualShard => ({
    shard,
    owner,
    start_number: 1,
    applied_position: 100,
    committed_position: 90,
    lag_ms: 0,
    silent: false,
    owned_since: (NOW_MS - 60_000) as UnixMillis,
    heard: (NOW_MS + atMs - 100) as UnixMillis,
    ...particular,
  }));
  return { last_position: 100, shards, time: (NOW_MS + atMs) as UnixMillis };
}

/** The same look with some shards changed. */
function changed(cluster: Cluster, shards: readonly number[], change: Partial<VirtualShard>): Cluster {
  return {
    ...cluster,
    shards: cluster.shards.map((shard) => (shards.includes(shard.shard) ? { ...shard, ...change } : shard)),
  };
}

function told(looks: readonly Cluster[]): readonly string[] {
  let moves: readonly Moves[] = [];
  let before: Cluster | null = null;
  for (const cluster of looks) {
    moves = movesAfter(moves, before, cluster);
    before = cluster;
  }
  return before === null ? [] : linesOf(moves, before).map(({ text }) => text);
}

test("each shard shows its owner by colour and by mark, and whether that is heard", () => {
  const cluster = goldenCluster();
  const { cells } = clusterOf(cluster, placesAfter(NO_PLACES, cluster));
  assert.deepEqual(
    cells.map(({ colour, mark, state }) => [colour, mark, state]),
    [
      [0, "0", "owned"],
      [1, "2", "quiet"],
      [null, "–", "free"],
    ],
  );
  assert.equal(cells[0]?.title, "shard 0: shard-0, applied up to 4,199, stored up to 4,187");
  assert.equal(cells[1]?.title, "shard 1: shard-2, not heard, applied up to 4,100, stored up to 4,100");
  assert.equal(cells[2]?.title, "keeper of the journal: nobody\u2019s");
});

test("each worker has a row with what it owns and how far it is, the last of its shards counting", () => {
  const cluster = changed(look(0, ["shard-1", "shard-0", "shard-1"]), [2], {
    applied_position: 1_050,
    committed_position: 80,
    lag_ms: 1_430,
  });
  const view = clusterOf(cluster, placesAfter(NO_PLACES, cluster));
  assert.deepEqual(view.owners, [
    {
      name: "shard-0",
      colour: 0,
      mark: "0",
      state: "owned",
      shards: "1",
      behind: "0 ms",
      applied: "100",
      stored: "90",
    },
    {
      name: "shard-1",
      colour: 1,
      mark: "1",
      state: "owned",
      shards: "2",
      behind: "1.4 s",
      applied: "100",
      stored: "80",
    },
  ]);
  assert.equal(view.tally, "2 workers, log at 100");
  assert.equal(view.words, "3 virtual shards: shard-0 owns 1, shard-1 owns 2.");
});

test("who cannot see the cells is told what has no owner", () => {
  const cluster = look(0, ["shard-0", "", ""]);
  const view = clusterOf(cluster, placesAfter(NO_PLACES, cluster));
  assert.equal(view.words, "3 virtual shards: shard-0 owns 1, 2 have no owner.");
  assert.equal(view.tally, "1 worker, log at 100");
});

test("a worker keeps its colour while others go and come", () => {
  const first = placesAfter(NO_PLACES, look(0, ["shard-1", "shard-2"]));
  const second = placesAfter(first, look(1_000, ["shard-2", "shard-0"]));
  assert.deepEqual([...second], [...first, ["shard-0", 2]]);
  assert.deepEqual([...first.keys()], ["shard-1", "shard-2"]);
});

test("many workers are told apart by their marks where colours repeat", () => {
  const names = ["one", "shard-12", ...Array.from({ length: COLOURS }, (_, index) => `shard-${index}`)];
  const cluster = look(0, names);
  const { cells } = clusterOf(cluster, placesAfter(NO_PLACES, cluster));
  assert.equal(new Set(cells.map(({ mark }) => mark)).size, names.length);
  assert.ok(cells.every(({ mark }) => mark.length === 1));
  assert.equal(new Set(cells.map(({ colour }) => colour)).size, COLOURS);
});

test("a worker is not heard when all of its shards are not", () => {
  const silent = { heard: (NOW_MS - QUIET_MS - 1) as UnixMillis };
  const some = changed(look(0, ["shard-0", "shard-0"]), [0], silent);
  assert.equal(clusterOf(some, NO_PLACES).owners[0]?.state, "owned");
  assert.equal(clusterOf(changed(some, [1], silent), NO_PLACES).owners[0]?.state, "quiet");
  assert.equal(clusterOf(changed(look(0, ["shard-0"]), [0], { silent: true }), NO_PLACES).owners[0]?.state, "quiet");
});

test("a short time is told as precisely as it can be read", () => {
  for (const [text, ms] of [
    ["0 ms", 0],
    ["999 ms", 999],
    ["1.0 s", 1_000],
    ["20.9 s", 20_949],
  ] as const)
    assert.equal(span(ms), text);
});

// --- what has become of shards ---------------------------------------------------------------------------------

const THREE = ["shard-0", "shard-1", "shard-2", "shard-2", "shard-2", "shard-0"];

test("at the first look nothing has moved, and at one like it neither", () => {
  assert.deepEqual(told([look(0, THREE)]), []);
  assert.deepEqual(told([look(0, THREE), look(1_000, THREE)]), []);
});

test("what a worker had that is gone is one story, from its last word to the first of its last heir", () => {
  const silent = { heard: (NOW_MS + 300) as UnixMillis };
  const before = changed(look(1_000, THREE), [2, 3, 4], silent);
  const midway = changed(changed(look(2_000, THREE), [3, 4], silent), [2], {
    owner: "shard-1",
    owned_since: (NOW_MS + 1_800) as UnixMillis,
  });
  assert.deepEqual(told([look(0, THREE), before, midway]), ["shard-2 gone: 1 of 3 shards moved to shard-1 in 1.5 s"]);
  const heirs = ["shard-0", "shard-1", "shard-1", "shard-0", "shard-1", "shard-0"];
  const after = changed(look(4_000, heirs), [3, 4], { owned_since: (NOW_MS + 3_500) as UnixMillis });
  assert.deepEqual(told([look(0, THREE), before, midway, after]), [
    "shard-2 gone: 3 shards moved to shard-0 and shard-1 in 3.2 s",
  ]);
});

test("what moves to a worker that had nothing is its coming, also when it was here before", () => {
  const two = ["shard-0", "shard-1", "shard-1", "shard-0", "shard-1", "shard-0"];
  const gone = changed(look(1_000, two), [2, 3, 4], { owned_since: (NOW_MS + 900) as UnixMillis });
  const first = changed(look(9_000, ["shard-0", "shard-1", "shard-2", "shard-0", "shard-1", "shard-0"]), [2], {
    owned_since: (NOW_MS + 8_000) as UnixMillis,
  });
  const second = changed(look(11_000, ["shard-0", "shard-1", "shard-2", "shard-2", "shard-1", "shard-0"]), [3], {
    owned_since: (NOW_MS + 10_500) as UnixMillis,
  });
  assert.deepEqual(told([look(0, THREE), gone, first, second]), [
    "shard-2 came: 2 shards moved to it from shard-0 and shard-1 in 2.5 s",
    "shard-2 gone: 3 shards moved to shard-0 and shard-1 in 1.0 s",
  ]);
});

test("what a worker gives up that is heard goes to who takes more, also long after that has come", () => {
  const next = changed(look(60_000, ["shard-1", "shard-1", "shard-2", "shard-2", "shard-2", "shard-0"]), [0], {
    owned_since: (NOW_MS + 59_500) as UnixMillis,
  });
  const last = changed(look(62_000, ["shard-1", "shard-1", "shard-1", "shard-2", "shard-2", "shard-0"]), [2], {
    owned_since: (NOW_MS + 61_800) as UnixMillis,
  });
  assert.deepEqual(told([look(0, THREE), look(59_000, THREE), next, last]), [
    "shard-1 takes more: 2 shards moved to it from shard-0 and shard-2 in 2.3 s",
  ]);
});

test("who dies while another comes is gone all the same, once that is sure", () => {
  const came = changed(look(1_000, [...THREE, "shard-3"]), [6], { owned_since: (NOW_MS + 800) as UnixMillis });
  const dead = changed(
    look(4_000, ["shard-0", "shard-3", "shard-2", "shard-2", "shard-2", "shard-0", "shard-3"]),
    [1],
    {
      owned_since: (NOW_MS + 3_900) as UnixMillis,
    },
  );
  assert.deepEqual(told([look(0, [...THREE, "shard-0"]), came, dead]), [
    "shard-1 gone: 1 shard moved to shard-3 in 3.0 s",
    "shard-3 came: 1 shard moved to it from shard-0 in 0 ms",
  ]);
});

test("what happens much later is another story", () => {
  const two = ["shard-0", "shard-1", "shard-0", "shard-0", "shard-1", "shard-0"];
  const looks = [0, 60_000].flatMap((atMs) => [
    look(atMs, THREE),
    changed(look(atMs + 2_000, two), [2, 3, 4], { owned_since: (NOW_MS + atMs + 1_500) as UnixMillis }),
  ]);
  assert.equal(told(looks).filter((text) => text.startsWith("shard-2 gone: 3 shards")).length, 2);
});

test("a shard that has nobody for a while moves when somebody has it", () => {
  const nobody = changed(look(1_000, THREE), [2], { owner: "", start_number: 0 });
  assert.deepEqual(told([look(0, THREE), nobody]), []);
});

test("only what has become lately is told, the newest first, each line with a key of its own", () => {
  let moves: readonly Moves[] = [];
  let before: Cluster | null = null;
  for (let turn = 0; turn < 10; turn++) {
    const cluster = changed(look(turn * 30_000, [`shard-${turn % 2}`, "shard-7"]), [0], {
      owned_since: (NOW_MS + turn * 30_000 - 500) as UnixMillis,
    });
    moves = movesAfter(moves, before, cluster);
    before = cluster;
  }
  assert.ok(before !== null);
  const lines = linesOf(moves, before);
  assert.equal(lines.length, 6);
  assert.equal(new Set(lines.map(({ key }) => key)).size, 6);
  const times = moves.map(({ endedMs }) => endedMs);
  assert.deepEqual(
    times,
    [...times].sort((one, other) => other - one),
  );
});
