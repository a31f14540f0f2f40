"""
What a virtual shard tells everyone: its passes and refusals, and how far it is. Runs on the event loop.

Telling is put together: what one look into the log brought is told at once, and so is each commit. Nobody waits for
who listens, and what is told may get lost; its numbers say so. Once a second something is told in any case, as a sign
of life.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from evs_server.cluster import codec, ports
from evs_server.cluster.news import NEWS_ROWS_MAX, News, Pass, ShardRefusal, in_pieces
from evs_server.ingest.course import Outcome
from evs_server.ingest.position import LogPosition
from evs_server.model import Batch, EngineMeta, Valuation

ALIVE_SECONDS: Final = 1.0
"""How long a virtual shard is silent at most."""

_OWN: Final = ""
"""Passes that no batch has made, such as of accounts that were just read."""


class Teller:
    """
    A ``ports.ValuationSink`` that tells the news of one virtual shard.

    Args:
        shard: Which one.
        owner: What the worker calls itself.
        news: Who is told.
        position: How far the shard is.
        account_count: How many accounts it has.
        degraded_since_ms: As of ``News``.
        session_start_ms: As of ``News``.

    Attributes:
        start_number: Of the owner's start; to be set before anything is told.
        told_count: Messages told.
    """

    def __init__(
        self,
        shard: int,
        owner: str,
        news: ports.News,
        position: LogPosition,
        account_count: Callable[[], int],
        *,
        degraded_since_ms: Callable[[], int | None] = lambda: None,
        session_start_ms: Callable[[], int] = lambda: EngineMeta().session_start_ms,
    ) -> None:
        self._shard = shard
        self._owner = owner
        self._news = news
        self._position = position
        self._account_count = account_count
        self._degraded_since_ms = degraded_since_ms
        self._session_start_ms = session_start_ms
        self._passes: list[Pass] = []
        self._row_count = 0
        self._refusals: list[ShardRefusal] = []
        self._applied_ms = 0
        self._is_new = True
        self.start_number = 0
        self.told_count = 0

    def publish(self, valuation: Valuation) -> None:
        """As of ``ValuationSink``: told with what else is told next."""
        self._passes.append(Pass(_OWN, valuation))
        self._row_count += len(valuation)
        self._is_new = True

    def end(self, batch: Batch, batch_id: str, outcome: Outcome) -> None:
        """A batch from the log, or a slice of one, has just been applied: its ticks made the passes published last."""
        valued, index = outcome.accounts_valued, len(self._passes)
        while valued > 0:
            index -= 1
            made = self._passes[index].valuation
            self._passes[index] = Pass(batch_id, made)
            valued -= 0 if made.session_roll else len(made)
        assert valued == 0, f"batch {batch_id} did not make the passes that were published last"
        if outcome.refusals:
            assert batch.index is not None, "events from the log know their places"
            self._refusals += [
                ShardRefusal(batch_id, batch.index.item(index), error) for index, error in outcome.refusals.items()
            ]
        self._applied_ms, self._is_new = batch.taken_ms, True
        if self._row_count >= NEWS_ROWS_MAX:
            self.tell()

    def note_commit(self) -> None:
        """Something has been committed: that is told, with what else there is."""
        self._is_new = True
        self.tell()

    def tell(self) -> None:
        """Tell what is new, if anything is."""
        if self._is_new:
            self._tell()

    async def run(self) -> None:
        """Tell something once in a while, until cancelled."""
        while True:
            self._tell()
            await asyncio.sleep(ALIVE_SECONDS)

    def _tell(self) -> None:
        assert self.start_number, "nothing is told before it is known whose start it is"
        passes, refusals = tuple(self._passes), tuple(self._refusals)
        self._passes, self._refusals, self._row_count, self._is_new = [], [], 0, False
        news = News(
            shard=self._shard,
            start_number=self.start_number,
            number=self.told_count + 1,
            owner=self._owner,
            applied_position=self._position.applied,
            committed_position=self._position.committed,
            applied_ms=self._applied_ms,
            passes=passes,
            refusals=refusals,
            account_count=self._account_count(),
            degraded_since_ms=self._degraded_since_ms(),
            session_start_ms=self._session_start_ms(),
        )
        for piece in in_pieces(news):
            self._news.tell(self._shard, codec.encode_news(piece))
            self.told_count += 1
