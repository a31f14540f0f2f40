import assert from "node:assert/strict";
import { test } from "node:test";

import { formatCents, formatPercent, formatShares } from "../src/format.js";
import type { BasisPoints, Cents, Percent } from "../src/wire/numbers.js";

test("cents are written in dollars, to the cent, whatever their size", () => {
  const table: [string, number][] = [
    ["$0.00", 0],
    ["$0.01", 1],
    ["−$0.25", -25],
    ["$1,234.56", 123_456],
    ["−$1,234,567.89", -123_456_789],
    ["$90,071,992,547,409.91", Number.MAX_SAFE_INTEGER],
  ];
  for (const [written, cents] of table) assert.equal(formatCents(cents as Cents), written);
  assert.equal(formatCents(5 as Cents, { signed: true }), "+$0.05");
  assert.equal(formatCents(0 as Cents, { signed: true }), "$0.00");
});

test("quantities are written in shares, with the decimals that it takes", () => {
  const table: [string, number][] = [
    ["0", 0],
    ["100", 1_000_000],
    ["12.5", 125_000],
    ["−0.0001", -1],
    ["1,000,000.25", 10_000_002_500],
  ];
  for (const [written, quantity] of table) assert.equal(formatShares(quantity as BasisPoints), written);
});

test("percentages have two decimals, and no sign if they round to zero", () => {
  const table: [string, number][] = [
    ["+10.00%", 10],
    ["−0.25%", -0.25],
    ["0.00%", -0.0025],
    ["0.00%", 0],
    ["−999,999.99%", -999_999.99],
  ];
  for (const [written, percent] of table) assert.equal(formatPercent(percent as Percent, { signed: true }), written);
  assert.equal(formatPercent(10 as Percent), "10.00%");
});
