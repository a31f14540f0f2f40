/** The frames that the bridge's own tests hold it to. */

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

/** Tests run with the package as the current folder, wherever they were compiled to. */
export const REPOSITORY = join(process.cwd(), "..", "..");

const FOLDER = join(REPOSITORY, "tests", "golden");

/** Their names, without `.json`. */
export function goldenNames(): readonly string[] {
  return readdirSync(FOLDER)
    .filter((file) => file.endsWith(".json"))
    .map((file) => file.slice(0, -".json".length))
    .sort();
}

export function golden(name: string): string {
  return readFileSync(join(FOLDER, `${name}.json`), "utf8");
}
