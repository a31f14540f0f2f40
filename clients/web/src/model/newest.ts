/** Which of two values stands: versions never go back, over reconnections and different bridges too. Pure. */

import type { EquityFrame } from "../wire/frames.js";

/**
 * True if a frame is to be shown. A snapshot may repeat the version that is shown: its numbers are the same, but its
 * reader learns that values may have been missed.
 */
export function isNews(frame: EquityFrame, newest: EquityFrame | null): boolean {
  if (newest === null || frame.version > newest.version) return true;
  return frame.version === newest.version && frame.snapshot;
}
