"""What a virtual shard tells: numbered, put together, in pieces of bounded size."""

from collections.abc import Iterator
from itertools import count

import numpy as np
import pytest

from evs_server.cluster.news import NEWS_ROWS_MAX, News
from evs_server.errors import OutOfBounds
from evs_server.ingest.course import Outcome
from evs_server.ingest.position import LogPosition
from evs_server.model import VALUATION_COLUMNS, Batch, Valuation
from evs_server.shard.tell import Teller
from tests.builders import int64
from tests.log_in_process import LogInProcess
from tests.shard_world import news_of

SHARD = 7


class Told:
    """A teller, and what it has told."""

    def __init__(self) -> None:
        self._log, self.position = LogInProcess(), LogPosition()
        self.teller = Teller(SHARD, "worker", self._log, self.position, lambda: 3)
        self.teller.start_number = 5
        self._versions: Iterator[int] = count(1)

    @property
    def news(self) -> list[News]:
        return news_of(self._log, SHARD)

    def publish(self, row_count: int, *, session_roll: bool = False) -> None:
        self.teller.publish(a_pass(next(self._versions), row_count, session_roll=session_roll))

    def end(self, batch_id: str, outcome: Outcome, position: int = 1) -> None:
        self.position.pass_by(position)
        batch = Batch("em", 1, 1, (), np.zeros(3, np.uint64), {}, position, taken_ms=99, index=int64(4, 6, 9))
        self.teller.end(batch, batch_id, outcome)


@pytest.fixture
async def told() -> Told:
    return Told()


def a_pass(version: int, row_count: int, *, session_roll: bool = False) -> Valuation:
    """A pass over so many accounts."""
    columns = np.tile(np.arange(row_count), (len(VALUATION_COLUMNS), 1))
    return Valuation(version, 1, 0, columns, session_roll=session_roll)


async def test_nothing_new_is_not_told(told: Told) -> None:
    """What brought nothing says nothing."""
    told.teller.tell()
    told.teller.tell()
    assert [1] == [news.number for news in told.news]


async def test_what_came_together_is_told_together(told: Told) -> None:
    """Passes, refusals and how far the shard is are one message; numbers grow by one."""
    told.publish(2)
    told.end("one", Outcome(accounts_valued=2), position=8)
    told.publish(1)
    told.end("two", Outcome(accounts_valued=1, refusals={2: OutOfBounds("price", "too much")}), position=9)
    told.teller.tell()
    told.teller.note_commit()
    news, after = told.news
    assert (SHARD, 5, 1, "worker", 9, 0, 99, 3) == (
        news.shard, news.start_number, news.number, news.owner, news.applied_position, news.committed_position,
        news.applied_ms, news.account_count,
    )  # fmt: skip
    assert [("one", 1), ("two", 2)] == [(made.batch_id, made.valuation.version) for made in news.passes]
    assert [("two", 9, "OUT_OF_BOUNDS")] == [(each.batch_id, each.index, each.error.reason) for each in news.refusals]
    assert (2, ()) == (after.number, after.passes)


async def test_only_passes_of_ticks_are_of_a_batch(told: Told) -> None:
    """Accounts that were read while the batch waited are nobody's; a session roll is not counted as its accounts."""
    told.publish(5)
    told.publish(4, session_roll=True)
    told.publish(2)
    told.publish(1)
    told.end("batch", Outcome(accounts_valued=3))
    told.teller.tell()
    [news] = told.news
    assert ["", "", "batch", "batch"] == [made.batch_id for made in news.passes]


async def test_a_large_pass_is_told_in_pieces(told: Told) -> None:
    """Only the last piece says how far the shard is: whoever waits for a position has all that led there."""
    told.publish(NEWS_ROWS_MAX + 1)
    told.end("batch", Outcome(accounts_valued=NEWS_ROWS_MAX + 1), position=3)
    assert [(1, 0), (2, 3)] == [(news.number, news.applied_position) for news in told.news]
    told.teller.note_commit()
    assert 3 == told.news[-1].number


async def test_how_a_shard_is_goes_with_all_that_it_tells() -> None:
    """Gateways say to senders since when nothing is stored, and rank by the session."""
    log = LogInProcess()
    teller = Teller(
        SHARD, "worker", log, LogPosition(), lambda: 3, degraded_since_ms=lambda: 99, session_start_ms=lambda: 7
    )
    teller.start_number = 5
    teller.tell()
    assert [(3, 99, 7)] == [
        (news.account_count, news.degraded_since_ms, news.session_start_ms) for news in news_of(log, SHARD)
    ]
