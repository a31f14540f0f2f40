/** Why something cannot be shown, in words that say what to do. Pure. */

import { ClientClosed, RequestRefused, RequestTimedOut, type EvsError } from "../../src/index.js";

/** The reason behind an error, as a sentence or two. */
export function reasonOf(error: EvsError): string {
  if (error instanceof RequestTimedOut) return "The server did not answer in time. It is being asked again.";
  if (error instanceof ClientClosed) return "The connection has ended.";
  if (!(error instanceof RequestRefused))
    return "The server\u2019s answer could not be understood. It is being asked again.";
  switch (error.code) {
    case "UNAVAILABLE":
      return "The valuation service cannot be reached. It is being asked again; nothing needs to be done here.";
    case "OVERLOADED":
      return "The valuation service is busy. It is being asked again.";
    case "NOT_SERVED":
      return "This server does not offer it.";
    default:
      return `The server could not answer (${error.code}). It is being asked again.`;
  }
}
