"""Whatever was lost: what is corrected brings our side to where the exchange's is, or nothing is corrected."""

from hypothesis import given
from hypothesis import strategies as st

from evs_server.engine.accounting import cash_change_cents, fold
from evs_server.engine.correction import changes_between, corrected
from evs_server.model import CorrectedField, Correction, CorrectionKind, Holding, Holdings, Ledger, SettledTrade, Side
from evs_server.reconcile.compare import differences
from evs_server.reconcile.explain import explain
from tests.builders import ALICE, KICK, PUNT

a_trade = st.tuples(
    st.sampled_from([KICK, PUNT]), st.sampled_from(Side), st.integers(1, 60_000), st.integers(1, 20_000)
)


def ours_of(trades: list[SettledTrade]) -> Holdings:
    lots = {symbol_id: Holding(*lot) for symbol_id, lot in fold(trades).items()}
    realized = sum(lot.realized_cents for lot in lots.values())
    return Holdings(ALICE, cash_change_cents(trades), 0, realized, lots)


def theirs_of(trades: list[SettledTrade], flow_cents: int) -> Ledger:
    quantities = {symbol_id: lot.quantity_bp for symbol_id, lot in fold(trades).items() if lot.quantity_bp}
    return Ledger(ALICE, cash_change_cents(trades) + flow_cents, quantities, tuple(trades))


@given(st.lists(a_trade, max_size=12), st.data())
def test_a_correction_leads_to_where_the_tables_are(
    contents: list[tuple[int, Side, int, int]], data: st.DataObject
) -> None:
    """Rows are lost anywhere, cash moves or does not; the identity holds after whatever is done about it."""
    trades = [SettledTrade(number, *content) for number, content in enumerate(contents, start=1)]
    was_lost = data.draw(st.lists(st.booleans(), min_size=len(trades), max_size=len(trades)))
    flow_cents = data.draw(st.sampled_from([0, 0, 1, -5_000]))
    ours = ours_of([trade for trade, lost in zip(trades, was_lost, strict=True) if not lost])
    theirs = theirs_of(trades, flow_cents)
    if not differences(ours, theirs):
        return
    correction, finding = explain(ours, theirs, (), requested=True)
    assert finding
    if correction is None:
        assert any(was_lost), "cash alone is always explained where every row is in the books"
        return
    after = corrected(ours, correction)
    assert () == differences(after, theirs)
    basis = sum(holding.basis_cents for holding in after.held.values())
    assert after.cash_cents - after.net_flow_cents == after.realized_cents - basis


@given(st.lists(a_trade, max_size=12), st.data())
def test_a_run_of_lost_trades_is_mended_or_left_alone_never_taken_for_a_flow(
    contents: list[tuple[int, Side, int, int]], data: st.DataObject
) -> None:
    """What an outage leaves: net flow is what it was."""
    trades = [SettledTrade(number, *content) for number, content in enumerate(contents, start=1)]
    first = data.draw(st.integers(0, len(trades)))
    end = data.draw(st.integers(first, len(trades)))
    ours = ours_of(trades[:first] + trades[end:])
    theirs = theirs_of(trades, 0)
    if differences(ours, theirs):
        correction, _ = explain(ours, theirs, (), requested=False)
        assert correction is None or CorrectionKind.TRADES is correction.kind


@given(st.lists(a_trade, max_size=12), st.lists(a_trade, max_size=4))
def test_a_recompute_gives_the_fold_whatever_was_there_before(
    contents: list[tuple[int, Side, int, int]], wrong: list[tuple[int, Side, int, int]]
) -> None:
    """Doing it again changes nothing."""
    trades = tuple(SettledTrade(number, *content) for number, content in enumerate(contents, start=1))
    before = ours_of([SettledTrade(number, *content) for number, content in enumerate(wrong, start=1)])
    correction = Correction(ALICE, CorrectionKind.RECOMPUTE, requested=True, trades=trades)
    after = corrected(before, correction)
    expected = {symbol_id: Holding(*lot) for symbol_id, lot in fold(trades).items()}
    assert expected == {symbol_id: after.held[symbol_id] for symbol_id in expected}
    assert after.cash_cents == before.cash_cents
    assert CorrectedField.CASH not in {change.field for change in changes_between(before, after)}
    assert [] == changes_between(after, corrected(after, correction))
