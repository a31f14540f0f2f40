// Removes a folder of build output, so that nothing of an earlier build is packed or tested.
import { rmSync } from "node:fs";

for (const folder of process.argv.slice(2)) rmSync(folder, { recursive: true, force: true });
