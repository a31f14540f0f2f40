/**
 * Watches the cluster behind the demo, where there is one: asks once a second while the page is seen.
 *
 * Lives here: when to ask. Not here: what is shown (`view`), how (`dom`). A bridge that says it has no such thing is not
 * asked again.
 */

import { EvsError, RequestRefused, type Client, type Cluster } from "../src/index.js";
import { ClusterCard } from "./dom/cluster.js";
import { Refresher } from "./refresher.js";
import { clusterOf, placesAfter, type Places } from "./view/cluster.js";
import { linesOf, movesAfter, type Moves } from "./view/moves.js";
import { reasonOf } from "./view/problems.js";

/** The beat is the page's; two of them may come close together. */
const LOOK_MS = 900;

/** Watches until the page is left, or the bridge says that there is nothing to watch. */
export class ClusterWatch {
  readonly #client: Client;
  readonly #card: ClusterCard;
  readonly #look: Refresher;
  #isAbsent = false;
  #places: Places = new Map();
  #moves: readonly Moves[] = [];
  #before: Cluster | null = null;

  constructor(client: Client) {
    this.#client = client;
    this.#card = new ClusterCard(() => void this.kill());
    this.#look = new Refresher(
      LOOK_MS,
      () => this.#load(),
      () => performance.now(),
    );
  }

  /** Once a second. */
  tick(): void {
    if (this.#isAbsent || document.visibilityState !== "visible") return;
    if (this.#client.status.kind === "live" || this.#client.status.kind === "stale") this.#look.want();
  }

  /** Kill a worker. */
  async kill(): Promise<void> {
    this.#card.setKilling(true);
    try {
      const { killed } = await this.#client.killShard();
      this.#card.showNote(`${killed} has been killed.`);
    } catch (error) {
      if (!(error instanceof EvsError)) throw error;
      this.#card.showNote(`No shard was killed. ${reasonOf(error)}`);
    } finally {
      this.#card.setKilling(false);
    }
  }

  async #load(): Promise<void> {
    if (this.#isAbsent) return;
    try {
      this.#take(await this.#client.cluster());
    } catch (error) {
      if (!(error instanceof EvsError)) throw error;
      this.#card.dim();
      if (!(error instanceof RequestRefused && error.code === "NOT_SERVED")) return;
      this.#isAbsent = true;
      this.#client.close();
    }
  }

  #take(cluster: Cluster): void {
    this.#places = placesAfter(this.#places, cluster);
    this.#moves = movesAfter(this.#moves, this.#before, cluster);
    this.#before = cluster;
    this.#card.show(clusterOf(cluster, this.#places), linesOf(this.#moves, cluster));
  }
}
