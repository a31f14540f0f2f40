"""What accounts for a difference: which rows of ``trades``, or a flow, or nothing that may be acted on."""

import pytest

from evs_server.engine.accounting import cash_change_cents, fold
from evs_server.limits import EXPLAINING_TRADES_MAX
from evs_server.model import CorrectionKind, Holding, Holdings, Ledger, SettledTrade, Side
from evs_server.reconcile.explain import explain, size_cents
from tests.builders import ALICE, KICK, PUNT, SHARE_BP

FUNDED_CENTS = 1_000_000


def buy(trade_id: int, shares: int, price: int, symbol: int = KICK) -> SettledTrade:
    return SettledTrade(trade_id, symbol, Side.BUY, shares * SHARE_BP, price)


def sell(trade_id: int, shares: int, price: int, symbol: int = KICK) -> SettledTrade:
    return SettledTrade(trade_id, symbol, Side.SELL, shares * SHARE_BP, price)


def holding(*trades: SettledTrade, cash_cents: int = FUNDED_CENTS) -> Holdings:
    """Our side of an account to which these trades were applied."""
    lots = {symbol_id: Holding(*lot) for symbol_id, lot in fold(trades).items()}
    realized = sum(lot.realized_cents for lot in lots.values())
    return Holdings(ALICE, cash_cents + cash_change_cents(trades), cash_cents, realized, lots)


def settled(*trades: SettledTrade, cash_cents: int = FUNDED_CENTS, quantity_bp: dict[int, int] | None = None) -> Ledger:
    """The exchange's side of an account with these rows."""
    quantities = {symbol_id: lot.quantity_bp for symbol_id, lot in fold(trades).items() if lot.quantity_bp}
    cash = cash_cents + cash_change_cents(trades)
    return Ledger(ALICE, cash, quantities if quantity_bp is None else quantity_bp, trades)


FIRST, SECOND, THIRD = buy(1, 10, 5_000), sell(2, 4, 6_000), buy(3, 7, 300, PUNT)


@pytest.mark.parametrize(
    ("missing", "applied"),
    [
        ([THIRD], [FIRST, SECOND]),  # the last one
        ([FIRST], [SECOND, THIRD]),  # the first one
        ([SECOND, THIRD], [FIRST]),  # a run
        ([FIRST, THIRD], [SECOND]),  # two that are no run
        ([FIRST, SECOND, THIRD], []),  # all
    ],
)
def test_trades_that_were_lost_are_found_by_what_is_missing(
    missing: list[SettledTrade], applied: list[SettledTrade]
) -> None:
    """Quantities and cash must both add up, and then the rows are known."""
    explanation = explain(holding(*applied), settled(FIRST, SECOND, THIRD), (), requested=True)
    assert explanation.correction is not None
    assert (CorrectionKind.TRADES, missing) == (explanation.correction.kind, list(explanation.correction.trades))


def test_a_round_trip_that_was_lost_as_a_whole_is_no_flow() -> None:
    """Quantities agree then, and only the cash differs: by what the trades gained."""
    round_trip = [buy(4, 10, 50), sell(5, 10, 60)]
    explanation = explain(holding(FIRST), settled(FIRST, *round_trip), (), requested=False)
    assert explanation.correction is not None
    assert round_trip == list(explanation.correction.trades)


def test_lost_trades_that_cannot_be_told_are_no_flow_either() -> None:
    """Three of them, far apart, that closed what they opened: only what they gained shows."""
    rows = [buy(1, 10, 50), FIRST, sell(3, 4, 60), THIRD, sell(5, 6, 70)]
    explanation = explain(holding(FIRST, THIRD), settled(*rows), (), requested=False)
    assert (None, "trades were never announced, and which ones does not show") == explanation


@pytest.mark.parametrize("amount_cents", [25_000, -25_000])
def test_cash_that_moved_without_a_trade_is_a_flow(amount_cents: int) -> None:
    """All rows are in the books to the last one, so the rest was paid in or out."""
    theirs = settled(FIRST, SECOND, cash_cents=FUNDED_CENTS + amount_cents)
    explanation = explain(holding(FIRST, SECOND), theirs, (), requested=False)
    assert explanation.correction is not None
    assert (CorrectionKind.FLOW, amount_cents) == (explanation.correction.kind, explanation.correction.flow_cents)
    assert 25_000 == size_cents(explanation.correction)


def test_cash_of_an_imported_account_is_a_flow_if_no_row_could_be_it() -> None:
    """Its profit and cost began with an average, so the rows do not add up; but none of them is 77 cents."""
    imported = Holdings(ALICE, 500_000, 999_900, 0, {KICK: Holding(10 * SHARE_BP, 49_990, 0)})
    theirs = Ledger(ALICE, 500_077, {KICK: 10 * SHARE_BP}, (FIRST,))
    explanation = explain(imported, theirs, (), requested=False)
    assert explanation.correction is not None
    assert 77 == explanation.correction.flow_cents


def test_cash_that_could_be_either_is_left_alone() -> None:
    """An imported account's past holds a round trip that gained just as much as was paid in."""
    imported = Holdings(ALICE, 500_000, 500_000, 0, {})
    theirs = Ledger(ALICE, 500_100, {}, (buy(1, 10, 50), sell(2, 10, 60), buy(3, 1, 7), sell(4, 1, 9)))
    explanation = explain(imported, theirs, (), requested=True)
    assert None is explanation.correction
    assert "either would account for it" in explanation.finding


@pytest.mark.parametrize(
    ("theirs", "finding"),
    [
        (settled(FIRST, quantity_bp={KICK: 11 * SHARE_BP}), "no rows of trades account for it"),
        (settled(FIRST, quantity_bp={KICK: 10 * SHARE_BP, PUNT: 1}), "no rows of trades account for it"),
        (settled(FIRST, cash_cents=FUNDED_CENTS - 1), "no rows of trades account for it"),
    ],
)
def test_what_no_row_accounts_for_is_only_reported(theirs: Ledger, finding: str) -> None:
    """A settlement that was torn for good, or quantities and cash that do not go together."""
    assert (None, finding) == explain(holding(), theirs, (), requested=True)


def test_trades_that_differ_in_nothing_but_their_id_do_equally_well() -> None:
    """Which of two equal purchases was lost makes no difference to anybody."""
    twins = [buy(1, 1, 5_000), buy(2, 1, 5_000)]
    explanation = explain(holding(twins[0]), settled(*twins), (), requested=True)
    assert explanation.correction is not None
    assert [twins[1]] == list(explanation.correction.trades)


def test_of_equal_trades_the_one_not_known_to_be_applied_is_taken() -> None:
    """A settlement id that was announced says so."""
    twins = [buy(1, 1, 5_000), buy(2, 1, 5_000)]
    explanation = explain(holding(twins[1]), settled(*twins), {2}, requested=True)
    assert explanation.correction is not None
    assert [twins[0]] == list(explanation.correction.trades)


def test_different_trades_that_would_do_as_well_are_left_alone() -> None:
    """Two pairs of purchases cost the same together; only one of them was lost."""
    rows = [buy(1, 1, 100), buy(2, 1, 400), buy(3, 1, 200), buy(4, 1, 300)]
    explanation = explain(holding(rows[0], rows[1]), settled(*rows), (), requested=True)
    assert (None, "several sets of rows of trades would account for it") == explanation


def test_only_the_newest_rows_are_searched() -> None:
    """A long history is not gone through again and again."""
    old, *newer = [buy(number, 1, number) for number in range(1, EXPLAINING_TRADES_MAX + 2)]
    assert None is explain(holding(*newer), settled(old, *newer), (), requested=True).correction
    explanation = explain(holding(old, *newer[:-1]), settled(old, *newer), (), requested=True)
    assert explanation.correction is not None
    assert [newer[-1]] == list(explanation.correction.trades)
