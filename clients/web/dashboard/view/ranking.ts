/** The leaderboard: the first places, and one's own beneath if it is not among them. Pure. */

import type { Leaderboard, LeaderboardEntry } from "../../src/index.js";
import { clockTime, count, directionOf, signedPercent, type Direction } from "../format.js";

/** One place. */
export interface Place {
  readonly key: string;
  readonly rank: string;
  readonly name: string;
  readonly change: string;
  readonly direction: Direction;
  readonly own: boolean;
  /** True if places lie between this and the one above. */
  readonly apart: boolean;
}

/** What is shown. */
export interface Ranking {
  readonly version: number;
  readonly places: readonly Place[];
  /** One sentence beneath. */
  readonly note: string;
}

/**
 * The places of an answer.
 *
 * @param readMs When it came, unix milliseconds: it is asked for less often than the figures beside it move.
 */
export function rankingOf(board: Leaderboard, readMs: number): Ranking {
  const places = board.entries.map((entry, index) => placeOf(entry, `${index}`, false));
  const own = board.own;
  if (own !== null && !board.entries.some((entry) => entry.own)) places.push(placeOf(own, "own", true));
  return { version: board.version, places, note: noteOf(board, readMs) };
}

function placeOf(entry: LeaderboardEntry, key: string, apart: boolean): Place {
  return {
    key,
    rank: count(entry.rank),
    name: entry.name ?? (entry.own ? "Your account" : "Unnamed account"),
    change: signedPercent(entry.return_percent),
    direction: directionOf(entry.return_percent),
    own: entry.own,
    apart,
  };
}

function noteOf(board: Leaderboard, readMs: number): string {
  if (board.ranked_count === 0) return "Nobody is ranked yet: it takes a session to compare with.";
  const ranked = `${count(board.ranked_count)} ${board.ranked_count === 1 ? "account" : "accounts"} ranked as of ${clockTime(readMs)}`;
  return board.own === null ? `${ranked}; yours is not, it has nothing to compare with yet.` : `${ranked}.`;
}
