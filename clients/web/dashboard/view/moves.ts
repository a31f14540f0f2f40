/**
 * What has become of virtual shards lately, told from one look at the cluster to the next. Pure.
 *
 * Moves belong together: those away from a worker that is gone, and those to one that has come, or takes more. Who is
 * gone is not heard any more when another has what it had; who gives something up is.
 */

import type { Cluster, VirtualShard } from "../../src/index.js";
import { clockTime } from "../format.js";
import { ownersOf, QUIET_MS, span } from "./cluster.js";

/** Moves that belong together. */
export interface Moves {
  readonly kind: "gone" | "came" | "more";
  readonly worker: string;
  readonly shards: readonly number[];
  /** The other side of the moves, in order of their names. */
  readonly others: readonly string[];
  /** When the worker was last heard, or had the first of the shards. */
  readonly beganMs: number;
  /** When the last of the shards was heard of its new owner. */
  readonly endedMs: number;
}

/** One line of what is told. */
export interface Line {
  readonly key: string;
  readonly time: string;
  readonly text: string;
}

const KEPT = 6;

/** After so long the next move is another story. */
const TOGETHER_MS = 20_000;

/** A worker that lives tells something of each of its shards with each tick, four times a second. */
const ALIVE_MS = 350;

interface Move {
  readonly from: VirtualShard;
  readonly to: VirtualShard;
}

/**
 * What has become, the newest first.
 *
 * @param known What was told before.
 * @param before The look before; null at the first.
 * @param now This look.
 */
export function movesAfter(known: readonly Moves[], before: Cluster | null, now: Cluster): readonly Moves[] {
  if (before === null) return known;
  let told = known;
  for (const move of changesOf(before, now)) {
    const kind = kindOf(move, told, before, now);
    told = extended(told, kind, kind === "gone" ? move.from.owner : move.to.owner, move, now);
  }
  return told.slice(0, KEPT);
}

function kindOf({ from, to }: Move, told: readonly Moves[], before: Cluster, now: Cluster): Moves["kind"] {
  if (!ownersOf(before).has(to.owner)) return "came";
  const ofFormer = [before, now].flatMap(({ shards }) => shards.filter(({ owner }) => owner === from.owner));
  const heard = Math.max(...ofFormer.map((shard) => shard.heard));
  if (isGoing(newestOf(told, to.owner), "came", now) && now.time - heard <= QUIET_MS) return "came";
  return heard > to.owned_since - ALIVE_MS ? "more" : "gone";
}

/** What is told of them. */
export function linesOf(moves: readonly Moves[], now: Cluster): readonly Line[] {
  const owners = ownersOf(now);
  return moves.map((each) => {
    // What a worker has that has come back since is no rest of what it had before.
    const left = newestOf(moves, each.worker) === each ? (owners.get(each.worker)?.length ?? 0) : 0;
    return {
      key: `${each.kind} ${each.worker} ${each.beganMs}`,
      time: clockTime(each.endedMs),
      text: each.kind === "gone" ? goneText(each, left) : cameText(each),
    };
  });
}

function changesOf(before: Cluster, now: Cluster): readonly Move[] {
  const was = new Map(before.shards.map((shard) => [shard.shard, shard]));
  return now.shards.flatMap((to): readonly Move[] => {
    const from = was.get(to.shard);
    return from && from.owner !== "" && to.owner !== "" && from.owner !== to.owner ? [{ from, to }] : [];
  });
}

function newestOf(moves: readonly Moves[], worker: string): Moves | undefined {
  return moves.find((each) => each.worker === worker);
}

function isGoing(moves: Moves | undefined, kind: Moves["kind"], now: Cluster): moves is Moves {
  return moves !== undefined && moves.kind === kind && now.time - moves.endedMs < TOGETHER_MS;
}

function extended(
  told: readonly Moves[],
  kind: Moves["kind"],
  worker: string,
  { from, to }: Move,
  now: Cluster,
): readonly Moves[] {
  const newest = newestOf(told, worker);
  const isGone = kind === "gone";
  const other = isGone ? to.owner : from.owner;
  const began = isGone ? from.heard : to.owned_since;
  if (!isGoing(newest, kind, now)) {
    const fresh = { kind, worker, shards: [to.shard], others: [other], beganMs: began, endedMs: to.owned_since };
    return [fresh, ...told];
  }
  const longer: Moves = {
    ...newest,
    shards: [...newest.shards, to.shard],
    others: [...new Set([...newest.others, other])].sort(),
    // A worker that is gone was last heard when the last of its shards was; one that has come, came with its first.
    beganMs: isGone ? Math.max(newest.beganMs, began) : Math.min(newest.beganMs, began),
    endedMs: Math.max(newest.endedMs, to.owned_since),
  };
  return told.map((each) => (each === newest ? longer : each));
}

function goneText({ worker, shards, others, beganMs, endedMs }: Moves, left: number): string {
  const moved = left > 0 ? `${shards.length} of ${shards.length + left} shards` : shardsOf(shards.length);
  return `${worker} gone: ${moved} moved to ${listed(others)} in ${span(Math.max(0, endedMs - beganMs))}`;
}

function cameText({ kind, worker, shards, others, beganMs, endedMs }: Moves): string {
  const what = kind === "came" ? "came" : "takes more";
  return `${worker} ${what}: ${shardsOf(shards.length)} moved to it from ${listed(others)} in ${span(endedMs - beganMs)}`;
}

function shardsOf(number: number): string {
  return `${number} ${number === 1 ? "shard" : "shards"}`;
}

function listed(names: readonly string[]): string {
  const last = names.at(-1) ?? "";
  return names.length > 1 ? `${names.slice(0, -1).join(", ")} and ${last}` : last;
}
