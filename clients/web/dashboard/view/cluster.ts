/**
 * The panel of a demo that is a cluster: who owns which virtual shard, and how far each worker is. Pure.
 *
 * What is coloured by its owner also says it with a mark of one character. A worker keeps its colour as long as the page
 * is open, however often it goes and comes back.
 */

import type { Cluster, VirtualShard } from "../../src/index.js";
import { count } from "../format.js";

/** How many workers have a colour of their own; beyond, colours repeat, and marks tell them apart. */
export const COLOURS = 6;

/** An owner tells something every second: who has not for so long is gone, or busy. */
export const QUIET_MS = 1_800;

/** One virtual shard. */
export interface Cell {
  readonly shard: number;
  /** Which colour; null if it has no owner. */
  readonly colour: number | null;
  /** What stands in it. */
  readonly mark: string;
  readonly state: "owned" | "quiet" | "free";
  /** All about it, for who points at it. */
  readonly title: string;
}

/** One worker. */
export interface Owner {
  readonly name: string;
  readonly colour: number;
  readonly mark: string;
  readonly state: "owned" | "quiet";
  readonly shards: string;
  readonly behind: string;
  readonly applied: string;
  readonly stored: string;
}

/** What is shown. */
export interface ClusterView {
  readonly cells: readonly Cell[];
  readonly owners: readonly Owner[];
  /** Beside the title. */
  readonly tally: string;
  /** The cells, for who cannot see them. */
  readonly words: string;
}

/** The place of each worker among those that have been seen, by its name: decides its colour and its mark. */
export type Places = ReadonlyMap<string, number>;

/** The places that there were, and one for each worker that is new. */
export function placesAfter(places: Places, cluster: Cluster): Places {
  const fresh = [...ownersOf(cluster).keys()].filter((name) => !places.has(name)).sort();
  return new Map([...places, ...fresh.map((name, index): [string, number] => [name, places.size + index])]);
}

/** The panel. */
export function clusterOf(cluster: Cluster, places: Places): ClusterView {
  const owners = [...ownersOf(cluster)].sort(([one], [other]) => (one < other ? -1 : 1));
  return {
    cells: cluster.shards.map((shard) => cellOf(shard, cluster, places)),
    owners: owners.map(([name, shards]) => ownerOf(name, shards, cluster, places)),
    tally: `${count(owners.length)} ${owners.length === 1 ? "worker" : "workers"}, log at ${count(cluster.last_position)}`,
    words: wordsOf(owners, cluster),
  };
}

/** The virtual shards of each owner, by its name. */
export function ownersOf(cluster: Cluster): ReadonlyMap<string, readonly VirtualShard[]> {
  const owners = new Map<string, VirtualShard[]>();
  for (const shard of cluster.shards) {
    const owned = owners.get(shard.owner);
    if (shard.owner === "") continue;
    if (owned === undefined) owners.set(shard.owner, [shard]);
    else owned.push(shard);
  }
  return owners;
}

function isQuiet(shard: VirtualShard, cluster: Cluster): boolean {
  return shard.silent || cluster.time - shard.heard > QUIET_MS;
}

/** The digits that a name ends with, or a letter. */
function markOf(name: string, place: number): string {
  return /(?<!\d)\d$/.exec(name)?.[0] ?? String.fromCharCode("A".charCodeAt(0) + (place % 26));
}

function cellOf(shard: VirtualShard, cluster: Cluster, places: Places): Cell {
  const what = shard.shard === cluster.shards.at(-1)?.shard ? "keeper of the journal" : `shard ${shard.shard}`;
  const place = places.get(shard.owner);
  if (place === undefined)
    return { shard: shard.shard, colour: null, mark: "–", state: "free", title: `${what}: nobody\u2019s` };
  const quiet = isQuiet(shard, cluster);
  const far = `applied up to ${count(shard.applied_position)}, stored up to ${count(shard.committed_position)}`;
  return {
    shard: shard.shard,
    colour: place % COLOURS,
    mark: markOf(shard.owner, place),
    state: quiet ? "quiet" : "owned",
    title: `${what}: ${shard.owner}${quiet ? ", not heard" : ""}, ${far}`,
  };
}

function ownerOf(name: string, shards: readonly VirtualShard[], cluster: Cluster, places: Places): Owner {
  const place = places.get(name) ?? 0;
  const least = (of: (shard: VirtualShard) => number): number => Math.min(...shards.map(of));
  return {
    name,
    colour: place % COLOURS,
    mark: markOf(name, place),
    state: shards.every((shard) => isQuiet(shard, cluster)) ? "quiet" : "owned",
    shards: count(shards.length),
    behind: span(Math.max(...shards.map(({ lag_ms }) => lag_ms))),
    applied: count(least(({ applied_position }) => applied_position)),
    stored: count(least(({ committed_position }) => committed_position)),
  };
}

/** A short time, as precise as anybody wants it: `0 ms`, `345 ms`, `1.4 s`. */
export function span(ms: number): string {
  return ms < 1_000 ? `${ms} ms` : `${(ms / 1_000).toFixed(1)} s`;
}

function wordsOf(owners: readonly (readonly [string, readonly VirtualShard[]])[], cluster: Cluster): string {
  const told = owners.map(([name, shards]) => `${name} owns ${shards.length}`);
  const free = cluster.shards.filter(({ owner }) => owner === "").length;
  if (free > 0) told.push(`${free} have no owner`);
  return `${cluster.shards.length} virtual shards: ${told.join(", ")}.`;
}
