/**
 * What a number of the wire means, as a type: cents cannot be passed for basis points, nor seconds for milliseconds.
 *
 * A branded number is a plain number at run time. All are whole, and exact in JavaScript: within ±(2^53 − 1). Only the
 * parsers make them. Pure.
 */

declare const unit: unique symbol;

type Branded<Unit extends string> = number & { readonly [unit]: Unit };

/** Money in whole cents. */
export type Cents = Branded<"cents">;

/** A quantity in 1/10,000 share; negative is short. */
export type BasisPoints = Branded<"basis points">;

/** Unix seconds. */
export type UnixSeconds = Branded<"unix seconds">;

/** Unix milliseconds; 0 where the wire says "never". */
export type UnixMillis = Branded<"unix milliseconds">;

/** A valuation pass. Only grows; equal versions of an account are equal numbers, on every surface. */
export type Version = Branded<"version">;

/** An account. */
export type AccountId = Branded<"account id">;

/** A symbol of the exchange. */
export type SymbolId = Branded<"symbol id">;

/** A ratio times 100, with up to four decimals: for display, never for sums. */
export type Percent = Branded<"percent">;
