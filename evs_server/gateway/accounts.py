"""
Accounts and settlements that a gateway does not know, asked of the shards that do. Touches I/O.

An event of an account that nobody has is refused before it is in the log, as by ``evs serve``. A settlement that an
unsequenced caller sends again must not be in the log either: it would move its symbol's mark a second time. Events
never wait long for an owner: without one they are put in, and the shard deals with them, as it does while the database
is away.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from evs_server.cluster.codec import decode_ensure_response, encode_ensure_request
from evs_server.cluster.news import EnsureRequest, EnsureResponse
from evs_server.cluster.shards import shard_of
from evs_server.errors import NoOwner, OperatingError, RequestError, StoreUnavailable
from evs_server.gateway.owners import Owners
from evs_server.gateway.table import SnapshotTable
from evs_server.ingest.sequencer import Admission
from evs_server.model import Batch, CashRun, SettlementColumns, TradeRun

ENSURE: Final = "Ensure"
LOOK_UP_SECONDS: Final = 1.5
"""How long a batch waits for owners; they themselves wait a second for the exchange's tables."""

Settlement = tuple[int, int, int]
"""Account, side, settlement id."""


@dataclass(frozen=True, slots=True)
class Finding:
    """
    What was found out about events of a batch, by their places in it.

    Attributes:
        refused: Events of accounts that cannot be had.
        repeated: Settlements that came before.
    """

    refused: Mapping[int, RequestError] = field(default_factory=dict)
    repeated: frozenset[int] = frozenset()

    @classmethod
    def nothing(cls) -> "Finding":
        """Nothing."""
        return cls()

    @property
    def left_out(self) -> Collection[int]:
        """Events that change nothing."""
        return self.refused.keys() | self.repeated


@dataclass(slots=True)
class _Question:
    """What one shard is asked."""

    account_ids: set[int] = field(default_factory=set)
    settlements: list[tuple[int, Settlement]] = field(default_factory=list)


class Accounts:
    """
    As ``ports.AccountLookup``, for a gateway.

    Args:
        table: What is known; gets what is found.
        owners: Asked for the rest.
    """

    def __init__(self, table: SnapshotTable, owners: Owners) -> None:
        self._table = table
        self._owners = owners

    async def ensure(self, account_ids: Collection[int]) -> Mapping[int, RequestError]:
        """
        Make accounts known.

        Returns:
            Those that cannot be had, each with the reason.

        Raises:
            StoreUnavailable: If nobody knows at the moment.
        """
        questions: dict[int, _Question] = {}
        for account_id in account_ids:
            if not self._table.knows(account_id):
                questions.setdefault(shard_of(account_id), _Question()).account_ids.add(account_id)
        if not questions:
            return {}
        try:
            answers = await asyncio.gather(*(self._ask(shard, each) for shard, each in questions.items()))
        except NoOwner as error:
            raise StoreUnavailable(f"an account is not known here, and {error.message}") from error
        return {account_id: error for answer in answers for account_id, error in _refused(answer).items()}

    async def find(
        self, batch: Batch, admission: Admission, ready: Callable[[Collection[int]], Awaitable[None]]
    ) -> Finding:
        """
        What there is to know of the new events of a batch before they are put in.

        Args:
            ready: Returns once some shards may be asked.
        """
        questions, repeated = self._questions(batch, admission)
        if not questions:
            return Finding(repeated=frozenset(repeated))
        await ready(questions.keys())
        refused_accounts: dict[int, RequestError] = {}
        answers = await asyncio.gather(*(self._ask_soon(shard, each) for shard, each in questions.items()))
        for question, answer in zip(questions.values(), answers, strict=True):
            if answer is not None:
                refused_accounts |= _refused(answer)
                repeated |= {question.settlements[row][0] for row in answer.repeated}
        refused = {
            index: refused_accounts[account_id]
            for index, account_id, _ in _named(batch, admission)
            if account_id in refused_accounts
        }
        return Finding(refused, frozenset(repeated - refused.keys()))

    def _questions(self, batch: Batch, admission: Admission) -> tuple[dict[int, _Question], set[int]]:
        questions: dict[int, _Question] = {}
        repeated: set[int] = set()
        if self._all_known(batch) and (batch.first_sequence or not _has_settlements(batch)):
            return questions, repeated
        seen: set[Settlement] = set()
        for index, account_id, settlement in _named(batch, admission):
            asks_for_account = not self._table.knows(account_id)
            if settlement in seen:
                repeated.add(index)
            elif asks_for_account or settlement is not None:
                question = questions.setdefault(shard_of(account_id), _Question())
                if asks_for_account:
                    question.account_ids.add(account_id)
                if settlement is not None:
                    seen.add(settlement)
                    question.settlements.append((index, settlement))
        return questions, repeated

    def _all_known(self, batch: Batch) -> bool:
        return not any(
            len(self._table.unknown(run.account_id)) for run in batch.runs if isinstance(run, TradeRun | CashRun)
        )

    async def _ask(self, shard: int, question: _Question, **patience: float) -> EnsureResponse:
        rows = np.array([settlement for _, settlement in question.settlements], np.int64).reshape(-1, 3)
        request = EnsureRequest(np.array(sorted(question.account_ids), np.int64), SettlementColumns(*rows.T))
        answer = decode_ensure_response(
            await self._owners.ask(shard, ENSURE, encode_ensure_request(request), **patience)
        )
        self._table.put(answer.snapshots)
        return answer

    async def _ask_soon(self, shard: int, question: _Question) -> EnsureResponse | None:
        """The answer, or None if there is none in time."""
        try:
            async with asyncio.timeout(LOOK_UP_SECONDS):
                return await self._ask(shard, question, moving_seconds=0.0)
        except (TimeoutError, OperatingError):
            return None


def _has_settlements(batch: Batch) -> bool:
    return any(bool(run.settlement_id.any()) for run in batch.runs if isinstance(run, TradeRun))


def _named(batch: Batch, admission: Admission) -> Iterator[tuple[int, int, Settlement | None]]:
    """Place, account and, of an unsequenced trade that has one, settlement of each new event that names an account."""
    start = 0
    for run in batch.runs:
        if isinstance(run, TradeRun | CashRun):
            for at in range(max(admission.first_new - start, 0), min(admission.end - start, len(run))):
                if start + at not in batch.refusals:
                    yield start + at, run.account_id.item(at), _settlement(batch, run, at)
        start += len(run)


def _settlement(batch: Batch, run: TradeRun | CashRun, at: int) -> Settlement | None:
    if batch.first_sequence or isinstance(run, CashRun) or not run.settlement_id.item(at):
        return None
    return run.account_id.item(at), run.side.item(at), run.settlement_id.item(at)


def _refused(answer: EnsureResponse) -> Mapping[int, RequestError]:
    return {each: error for each, error in answer.refused.items() if isinstance(error, RequestError)}
