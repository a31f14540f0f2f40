"""
What accounts for an account's differences: rows of ``trades`` that were never applied, or unannounced cash. Pure.

Rows carry no mark that says whether they were applied. But what is missing adds up: the signed quantities of the lost
rows are the differences in quantity, and what they did to cash is the difference in cash, to the cent. A run of rows
that lie next to each other is looked for first, as an outage leaves it, then any two rows. The fewest rows win; where
different trades would do as well, nothing is chosen.

Cash alone is a flow only if no row can be missing. All rows of ``trades`` are in the books when their effect on cash is
what our profit and cost say: ``sum of cash effects = realized - basis``. Where it is not (fees, accounts imported with
a past), rows that would explain the cash, such as a round trip that was lost as a whole, forbid a flow.

A worked example: the tables have 10 shares more of one symbol than we have, and 50,000 cents less. One row is a
purchase of 10 shares at 5,000: it is applied. Had the cash been 49,000 less, it would not be: there is more to it.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Final, NamedTuple

from evs_server.engine.accounting import cash_change_cents, signed_quantity_bp
from evs_server.limits import EXPLAINING_TRADES_MAX
from evs_server.model import Correction, CorrectionKind, Holdings, Ledger, SettledTrade
from evs_server.reconcile.compare import Field, differences

ROWS_NAMED: Final = 10
"""Rows of ``trades`` that a finding names."""

_SYMBOL_BITS: Final = 80
"""Room for the sum of all quantities of one symbol: sums of several symbols are then one number, and stay exact."""


class Explanation(NamedTuple):
    """
    What accounts for an account's differences.

    Attributes:
        correction: What would settle them, or None.
        finding: The same in words, or why there is nothing to be done.
    """

    correction: Correction | None
    finding: str


class _Effect(NamedTuple):
    """What some rows do to cash and, packed into one number, to quantities."""

    cash_cents: int
    quantities: int


def explain(ours: Holdings, theirs: Ledger, applied: Collection[int], *, requested: bool) -> Explanation:
    """
    What accounts for the differences of an account that stood long enough.

    Args:
        theirs: With all of the account's trades.
        applied: Ids of trades that are known to be in the books.
        requested: As in ``Correction``.
    """
    found = differences(ours, theirs)
    assert found, "there is something to explain"
    wanted_bp = {each.symbol_id: each.theirs - each.ours for each in found if each.field is Field.QUANTITY}
    wanted_cents = theirs.cash_cents - ours.cash_cents
    unbooked_cents = _unbooked_cents(ours, theirs)
    if not wanted_bp and not unbooked_cents:
        return _flow(ours.account_id, wanted_cents, requested)
    rows = [trade for trade in theirs.trades[-EXPLAINING_TRADES_MAX:] if trade.trade_id not in applied]
    candidates = _sets_that_do(rows, wanted_cents, wanted_bp)
    if not candidates and wanted_bp:
        return Explanation(None, "no rows of trades account for it")
    if not candidates and unbooked_cents == wanted_cents:
        return Explanation(None, "trades were never announced, and which ones does not show")
    if not candidates:
        return _flow(ours.account_id, wanted_cents, requested)
    if not wanted_bp and unbooked_cents != wanted_cents:
        return Explanation(None, "a flow or lost trades: either would account for it")
    return _trades(ours.account_id, candidates, requested)


def size_cents(correction: Correction) -> int:
    """How much money a correction is about: the flow, or what its trades were worth."""
    return abs(correction.flow_cents) + sum(abs(cash_change_cents([trade])) for trade in correction.trades)


def _flow(account_id: int, amount_cents: int, requested: bool) -> Explanation:
    correction = Correction(account_id, CorrectionKind.FLOW, requested, flow_cents=amount_cents)
    return Explanation(correction, "cash moved that was never announced, and no trade")


def _trades(account_id: int, candidates: Sequence[tuple[SettledTrade, ...]], requested: bool) -> Explanation:
    if len(candidates) > 1:
        return Explanation(None, "several sets of rows of trades would account for it")
    trades = candidates[0]
    ids = ", ".join(str(trade.trade_id) for trade in trades[:ROWS_NAMED])
    more = f" and {len(trades) - ROWS_NAMED} more" if len(trades) > ROWS_NAMED else ""
    return Explanation(
        Correction(account_id, CorrectionKind.TRADES, requested, trades=trades),
        f"trades were never announced: row {ids}{more}",
    )


def _unbooked_cents(ours: Holdings, theirs: Ledger) -> int:
    """What all rows of ``trades`` did to cash, less what our profit and cost say that they did."""
    booked = sum(holding.realized_cents - holding.basis_cents for holding in ours.held.values())
    return cash_change_cents(theirs.trades) - booked


def _sets_that_do(
    rows: Sequence[SettledTrade], wanted_cents: int, wanted_bp: Mapping[int, int]
) -> list[tuple[SettledTrade, ...]]:
    """The smallest sets of rows that have an effect, each with other content; of equal ones, the newest."""
    place = {symbol_id: index for index, symbol_id in enumerate(sorted({row.symbol_id for row in rows}))}
    if not wanted_bp.keys() <= place.keys():
        return []
    wanted = _Effect(wanted_cents, sum(bp << _SYMBOL_BITS * place[symbol] for symbol, bp in wanted_bp.items()))
    effects = [
        _Effect(
            cash_change_cents([row]),
            signed_quantity_bp(row.side, row.quantity_bp) << _SYMBOL_BITS * place[row.symbol_id],
        )
        for row in rows
    ]
    fewest = 0
    by_content: dict[frozenset[tuple[tuple[int, ...], int]], tuple[SettledTrade, ...]] = {}
    for indexes in (*_runs(effects, wanted), *_pairs(effects, wanted)):
        if fewest and len(indexes) > fewest:
            continue
        if not fewest or len(indexes) < fewest:
            fewest = len(indexes)
            by_content.clear()
        trades = tuple(rows[index] for index in indexes)
        by_content[frozenset(Counter(trade_content(trade) for trade in trades).items())] = trades
    return list(by_content.values())


def trade_content(trade: SettledTrade) -> tuple[int, ...]:
    """What a trade is, but for its id: two of the same do the same to an account."""
    return (trade.symbol_id, trade.side, trade.quantity_bp, trade.price_cents)


def _runs(effects: Sequence[_Effect], wanted: _Effect) -> Iterator[range]:
    """Rows that lie next to each other and together have an effect, older ones first."""
    starts: dict[_Effect, int] = {}
    sums = accumulate(effects, _plus, initial=_Effect(0, 0))
    for end, total in enumerate(sums):
        before = _Effect(total.cash_cents - wanted.cash_cents, total.quantities - wanted.quantities)
        # Of all runs that end here the shortest is enough: only the fewest rows count.
        if before in starts:
            yield range(starts[before], end)
        starts[total] = end


def _pairs(effects: Sequence[_Effect], wanted: _Effect) -> Iterator[tuple[int, int]]:
    """Two rows, wherever they lie, that together have an effect."""
    seen: dict[_Effect, int] = {}
    for second, effect in enumerate(effects):
        missing = _Effect(wanted.cash_cents - effect.cash_cents, wanted.quantities - effect.quantities)
        if missing in seen:
            yield seen[missing], second
        seen[effect] = second


def _plus(left: _Effect, right: _Effect) -> _Effect:
    return _Effect(left.cash_cents + right.cash_cents, left.quantities + right.quantities)
