"""
A trial of a cluster: a market, our own client as its sender, and readers that see every value; then the fold judges.

As ``tests.faults.trial``, of which it is one: what goes wrong meanwhile is the tests' affair. In the end every account,
position and stored row is as the fold says, and each reader has ended with the last value, versions only having grown.
"""

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

from evs.v1 import evs_pb2 as pb
from evs_client import EquityStream, ExecutionManagerClient, SenderTuning
from evs_client.backoff import Backoff

from evs_server.model import Side
from tests.e2e.exchange_tables import ExchangeTables
from tests.faults.trial import Trial
from tests.patience import eventually

TUNING = SenderTuning(
    batch_events_max=50,
    open_deadline_s=None,
    close_deadline_s=None,
    answer_deadline_s=15.0,
    backoff_max_s=0.3,
)
_SIDES: dict[Side, Literal["BUY", "SELL"]] = {Side.BUY: "BUY", Side.SELL: "SELL"}


class ClientSender:
    """
    What ``PlainSender`` is, by our own client; see ``tests.faults.trial.Sender``.

    Args:
        address: Of a gateway, or of several as gRPC has it.
        source: The sender's name.
    """

    def __init__(self, address: str, source: str) -> None:
        self._address = address
        self._source = source
        self._waiting: deque[tuple[pb.EventRun, ...]] = deque()
        self._changed = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping = threading.Event()
        self._client: ExecutionManagerClient | None = None
        self.reconnect_count = 0

    @property
    def applied_sequence(self) -> int:
        return self._client.applied_sequence if self._client is not None else 0

    @property
    def durable_sequence(self) -> int:
        return self._client.durable_sequence if self._client is not None else 0

    @property
    def refusals(self) -> Mapping[int, str]:
        return {each.sequence: each.reason for each in self._client.refusals} if self._client is not None else {}

    def add(self, _count: int, *runs: pb.EventRun) -> None:
        """Have a batch sent; both legs of its trades in one."""
        self._waiting.append(runs)
        self._wake()

    def stop(self) -> None:
        """End ``run``, whatever is still kept."""
        self._stopping.set()
        self._wake()

    def run(self) -> None:
        """Send until ``stop``."""
        asyncio.run(self._run())

    def _wake(self) -> None:
        with contextlib.suppress(RuntimeError):  # it has ended by itself, which is told elsewhere
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._changed.set)

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        async with ExecutionManagerClient(self._address, source=self._source, tuning=TUNING) as client:
            self._client = client
            while not self._stopping.is_set():
                while self._waiting:
                    await _send(client, self._waiting.popleft())
                self._changed.clear()
                if not self._waiting and not self._stopping.is_set():
                    await self._changed.wait()
            self.reconnect_count = client.statistics().reconnect_count
            self._loop = None


async def _send(client: ExecutionManagerClient, runs: Sequence[pb.EventRun]) -> None:
    async with client.batch() as block:
        for run in runs:
            columns: Any = getattr(run, str(run.WhichOneof("events")))
            rows = zip(*(getattr(columns, name) for name in _NAMES[type(columns)]), strict=True)
            for row in rows:
                match columns:
                    case pb.TradeColumns():
                        account_id, symbol_id, side, quantity_bp, price_cents, fee_cents = row
                        block.trade(
                            account_id, symbol_id, _SIDES[Side(side)], quantity_bp=quantity_bp,
                            price_cents=price_cents, fee_cents=fee_cents,
                        )  # fmt: skip
                    case pb.PriceColumns():
                        block.price(*row)
                    case pb.CashColumns():
                        block.cash(*row)
                    case _:
                        block.tick(*row)


_NAMES: dict[type, Sequence[str]] = {
    pb.TradeColumns: ("account_id", "symbol_id", "side", "quantity_bp", "price_cents", "fee_cents"),
    pb.PriceColumns: ("symbol_id", "price_cents"),
    pb.CashColumns: ("account_id", "amount_cents"),
    pb.TickColumns: ("tick_id",),
}


class Readers:
    """
    A stream of each of some accounts, all along, through as many reconnects as it takes.

    Attributes:
        newest: By account, the version and the equity that were seen last.
        ticks: By account, the tick of what was seen last.
    """

    def __init__(self, address: str, account_ids: Sequence[int]) -> None:
        self._address = address
        self._account_ids = account_ids
        self._stopping = asyncio.Event()
        self.newest: dict[int, tuple[int, int]] = {}
        self.ticks: dict[int, int] = {}
        self.fallen: list[tuple[int, int, int]] = []

    @contextmanager
    def reading(self) -> Iterator[None]:
        """They read as long as the block lasts; each has its first value when it begins."""
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_until_complete, args=[self._run()])
        thread.start()
        try:
            eventually(lambda: len(self.newest) == len(self._account_ids), "every reader has a value")
            yield
        finally:
            loop.call_soon_threadsafe(self._stopping.set)
            thread.join()
            loop.close()

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._read(account_id)) for account_id in self._account_ids]
            await self._stopping.wait()
            for task in tasks:
                task.cancel()

    async def _read(self, account_id: int) -> None:
        async with EquityStream(self._address, account_id, backoff=Backoff(0.05, 0.3)) as stream:
            async for value in stream:
                version, _ = self.newest.get(account_id, (0, 0))
                if value.version <= version:
                    self.fallen.append((account_id, version, value.version))
                self.newest[account_id], self.ticks[account_id] = (value.version, value.total_equity), value.tick


class ClusterTrial(Trial):
    """
    A trial of which gateways serve the end.

    Args:
        tables: The exchange's database.
        account_count: How many accounts trade; as they are few, not every virtual shard has one.
        seed: Decides the market.
    """

    def __init__(self, tables: ExchangeTables, account_count: int = 12, seed: int = 1) -> None:
        super().__init__(tables, account_count, seed, ClientSender)

    @contextmanager
    def running(self, address: str) -> Iterator[None]:
        """The sender sends and readers read as long as the block lasts; it must end in ``finish``."""
        self.readers = Readers(address, self.account_ids)
        with self.readers.reading(), self.sending(address):
            yield

    def finish(self, address: str) -> None:
        """Close the market, and hold everything against the fold."""
        closing = self.close_market()
        self.wait_until_durable()
        expected = self.expected(closing)
        # What a gateway has yet to hear after a shard has moved, it asks for: a moment later than it hears of a commit.
        eventually(lambda: expected == self.served(address), "the gateway says what the fold does")
        self.wait_until_read({account_id: numbers[-1] for account_id, numbers in expected[0].items()})
        assert [] == self.readers.fallen
        self.verify(address, closing)

    def wait_until_read(self, equity_cents: dict[int, int]) -> None:
        """Return once every reader has what its account is worth."""
        eventually(
            lambda: equity_cents == {account_id: seen for account_id, (_, seen) in self.readers.newest.items()},
            "every reader has the last value",
        )
