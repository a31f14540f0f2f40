"""Which trades are in the books already: those an account was loaded with."""

import pytest

from evs_server.ingest.settled import Settled
from evs_server.model import SettledTrade, Side, UnannouncedColumns
from tests.builders import ALICE, BOB, KICK, PUNT
from tests.flushes import plain, table

BUY, SELL = Side.BUY, Side.SELL
CONTENT = (KICK, BUY, 10_000, 5_000)


def is_announced(settled: Settled, account_id: int, content: tuple[int, int, int, int], settlement_id: int = 0) -> bool:
    """Announce a trade: whether its account was loaded with it."""
    trade = settled.expected(account_id, *content, settlement_id)
    if trade is not None:
        settled.announce(account_id, trade)
    return trade is not None


def restarted(settled: Settled, *others: Settled) -> Settled:
    """What has been captured since the first start, taken over by a new process."""
    captures = [each.capture() for each in (settled, *others)]
    added = [row for columns, _ in captures for row in rows(columns)]
    removed = {tuple(row[:2]) for _, columns in captures for row in rows(columns)}
    successor = Settled()
    successor.restore(table(UnannouncedColumns, [row for row in added if tuple(row[:2]) not in removed]))
    return successor


def rows(columns: UnannouncedColumns) -> list[tuple[int, ...]]:
    """Columns as rows."""
    return list(zip(*plain(columns).values(), strict=True))


# --- trades an account was loaded with ------------------------------------------------------------------------------


def a_loaded(*trades: SettledTrade) -> Settled:
    """Alice, loaded with trades."""
    settled = Settled()
    settled.expect(ALICE, trades)
    return settled


@pytest.mark.parametrize(
    ("is_expected", "account_id", "content", "settlement_id"),
    [
        (True, ALICE, CONTENT, 0),
        (True, ALICE, CONTENT, 7),
        (False, ALICE, (PUNT, SELL, 1, 1), 7),  # an id of another numbering: its row says something else
        (False, ALICE, CONTENT, 8),  # though the content is that of another
        (False, BOB, CONTENT, 0),
        (False, BOB, CONTENT, 7),
        (False, ALICE, (PUNT, BUY, 10_000, 5_000), 0),
        (False, ALICE, (KICK, SELL, 10_000, 5_000), 0),
        (False, ALICE, (KICK, BUY, 10_001, 5_000), 0),
        (False, ALICE, (KICK, BUY, 10_000, 5_001), 0),
    ],
)
def test_a_trade_is_recognised_by_its_id_or_else_by_its_content(
    is_expected: bool, account_id: int, content: tuple[int, int, int, int], settlement_id: int
) -> None:
    settled = a_loaded(SettledTrade(7, *CONTENT))
    assert is_expected == is_announced(settled, account_id, content, settlement_id)


@pytest.mark.parametrize("settlement_id", [0, 7])
def test_each_trade_answers_one_announcement(settlement_id: int) -> None:
    settled = a_loaded(SettledTrade(7, *CONTENT))
    assert [True, False] == [is_announced(settled, ALICE, CONTENT, settlement_id) for _ in range(2)]


def test_as_many_alike_answer_as_many_announcements() -> None:
    settled = a_loaded(SettledTrade(7, *CONTENT), SettledTrade(8, *CONTENT))
    assert [True, True, False] == [is_announced(settled, ALICE, CONTENT) for _ in range(3)]


def test_looking_changes_nothing() -> None:
    """A trade whose announcement is refused is still to be announced."""
    settled = a_loaded(SettledTrade(7, *CONTENT))
    settled.capture()
    assert [SettledTrade(7, *CONTENT)] * 2 == [settled.expected(ALICE, *CONTENT, 0) for _ in range(2)]
    assert [[], []] == [rows(columns) for columns in settled.capture()]


def test_the_announced_one_goes_whatever_its_place() -> None:
    """Announcements need not come in the order of the trades: several may be on their way at once."""
    settled = a_loaded(*(SettledTrade(number, *CONTENT) for number in (7, 8, 9)))
    assert [True, True, False, True] == [is_announced(settled, ALICE, CONTENT, each) for each in (8, 7, 8, 9)]


def test_an_account_without_trades_expects_nothing() -> None:
    settled = a_loaded()
    assert not is_announced(settled, ALICE, CONTENT)
    assert [[], []] == [rows(columns) for columns in settled.capture()]


def test_what_is_still_to_be_announced_survives_a_restart() -> None:
    settled = a_loaded(SettledTrade(7, *CONTENT), SettledTrade(8, *CONTENT), SettledTrade(9, PUNT, SELL, 1, 2))
    assert is_announced(settled, ALICE, CONTENT, 8)
    successor = restarted(settled)
    assert [True, False, False, True] == [
        is_announced(successor, ALICE, CONTENT, 7),
        is_announced(successor, ALICE, CONTENT, 8),
        is_announced(successor, ALICE, CONTENT),
        is_announced(successor, ALICE, (PUNT, SELL, 1, 2)),
    ]
    assert [[], [(ALICE, 7), (ALICE, 9)]] == [[row[:2] for row in rows(columns)] for columns in successor.capture()]
