/** What the flags of a value mean, in words. Pure. */

/** One thing to know about the numbers. */
export interface Notice {
  readonly flag: string;
  /** `danger`: do not trust them; `caution`: part of them is less certain than usual. */
  readonly weight: "danger" | "caution";
  readonly text: string;
}

const KNOWN: Readonly<Record<string, Omit<Notice, "flag">>> = {
  UNPRICED: {
    weight: "caution",
    text: "A position has no price yet and is valued at what it cost.",
  },
  STALE_PRICE: {
    weight: "caution",
    text: "A price is older than usual. The age of each is in the table of positions.",
  },
  DEGRADED: {
    weight: "caution",
    text: "These numbers are right, but are not being stored at the moment: the chart may catch up later.",
  },
  NO_BASE: {
    weight: "caution",
    text: "There is no earlier session to compare with yet, so the day\u2019s change means nothing.",
  },
  IDENTITY_VIOLATED: {
    weight: "danger",
    text: "These numbers contradict each other. Do not rely on them; support has been alerted.",
  },
};

/** The notices of a value's flags, the grave ones first; a flag that is not known is shown by its name. */
export function noticesOf(flags: readonly string[]): readonly Notice[] {
  const notices = flags.map((flag): Notice => {
    const known = Object.hasOwn(KNOWN, flag) ? KNOWN[flag] : undefined;
    return { flag, ...(known ?? { weight: "caution", text: flag.replaceAll("_", " ").toLowerCase() }) };
  });
  return [
    ...notices.filter(({ weight }) => weight === "danger"),
    ...notices.filter(({ weight }) => weight !== "danger"),
  ];
}
