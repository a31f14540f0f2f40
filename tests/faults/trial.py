"""
A trial: accounts of an exchange, a seeded market, a sender that must get everything through, and the fold that judges.

What goes wrong meanwhile is the tests' affair. In the end ``verify`` holds every account, position and stored row
against the fold of what was sent: nothing lost, nothing counted twice, each version at most once.
"""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Protocol

from evs.v1 import evs_pb2 as pb

from evs_server.model import Side
from tests.e2e.caller import Caller
from tests.e2e.exchange_tables import ExchangeTables
from tests.e2e.plain_sender import PlainSender
from tests.e2e.processes import Command, serving
from tests.patience import eventually
from tests.reference import Account, notional
from tests.wire import cash, prices, ticks, trades

OPENING_CENTS = 1_000_000
SOURCE = "trial"
SYMBOLS = (1, 2, 3, 4)
PRICES = (99, 100, 101, 333, 5_001)
QUANTITIES_BP = (5_000, 10_000, 25_001)
SETTINGS = {"reconcile_seconds": "0"}
"""The exchange's tables are not written here: there is nothing to reconcile with."""

Numbers = dict[int, tuple[int, ...]]
"""By account: cash, net flow, realized, equity."""

Lots = dict[int, dict[int, tuple[int, int, int]]]
"""By account and symbol: bp, basis, realized."""


class Sender(Protocol):
    """What brings a trial's events to EVS, from a thread of its own; ``PlainSender`` says what each member is."""

    @property
    def applied_sequence(self) -> int: ...
    @property
    def durable_sequence(self) -> int: ...
    @property
    def refusals(self) -> Mapping[int, str]: ...
    def add(self, count: int, *runs: pb.EventRun) -> None: ...
    def run(self) -> None: ...
    def stop(self) -> None: ...


class Trial:
    """
    One market and its sender; made before EVS first starts, so that its accounts are imported.

    Args:
        tables: The exchange's database.
        account_count: How many accounts trade.
        seed: Decides the market.
        make_sender: Makes the sender, from an address and the name of a source.
    """

    def __init__(
        self,
        tables: ExchangeTables,
        account_count: int = 6,
        seed: int = 1,
        make_sender: Callable[[str, str], Sender] = PlainSender,
    ) -> None:
        self.tables = tables
        self._make_sender = make_sender
        self._random = Random(seed)
        self._accounts = {tables.open_account(OPENING_CENTS): Account() for _ in range(account_count)}
        for books in self._accounts.values():
            books.cash = books.net_flow = OPENING_CENTS
        self._tick = 0
        self.event_count = 0
        self._failure: BaseException | None = None

    @property
    def account_ids(self) -> Sequence[int]:
        """Who trades."""
        return list(self._accounts)

    @contextmanager
    def sending(self, address: str) -> Iterator[None]:
        """The sender is at work as long as the block lasts; ``address`` is of EVS, or of a proxy in front of it."""
        self.sender = self._make_sender(address, SOURCE)
        thread = threading.Thread(target=self._send)
        thread.start()
        try:
            yield
        finally:
            self.sender.stop()
            thread.join()
        assert self._failure is None

    def trade(self, tick_count: int, trades_per_tick: int = 2) -> None:
        """Let the market go on for some ticks; each is one batch, with both legs of its trades."""
        for _ in range(tick_count):
            runs = [self._settle() for _ in range(trades_per_tick)]
            event_count = 2 * trades_per_tick + 1
            if self._random.random() < 0.3:
                symbol, price = self._random.choice(SYMBOLS), self._random.choice(PRICES)
                runs.append(prices((symbol, price)))
                event_count += 1
            if self._random.random() < 0.2:
                runs.append(self._pay())
                event_count += 1
            self._tick += 1
            self._tell(event_count, *runs, ticks(self._tick))

    def wait_until_durable(self, event_count: int | None = None) -> None:
        """Return once so many events are durable; by default all that were sent."""
        wanted = self.event_count if event_count is None else event_count
        eventually(lambda: self._failure or self.sender.durable_sequence >= wanted, f"event {wanted} to be durable")
        assert self._failure is None

    def wait_until_applied(self, event_count: int) -> None:
        """Return once so many events are applied."""
        eventually(lambda: self._failure or self.sender.applied_sequence >= event_count, f"event {event_count} applied")
        assert self._failure is None

    def close_market(self) -> dict[int, int]:
        """A last price for each symbol, and a last tick; the prices."""
        closing = {symbol: self._random.choice(PRICES) for symbol in SYMBOLS}
        self._tick += 1
        self._tell(len(SYMBOLS) + 1, prices(*closing.items()), ticks(self._tick))
        return closing

    def verify(self, address: str, closing: dict[int, int]) -> None:
        """Hold everything against the fold; EVS serves at ``address``, and all is durable."""
        assert {} == self.sender.refusals
        assert self.expected(closing) == self.served(address)
        self._verify_rows()

    def expected(self, closing: dict[int, int]) -> tuple[Numbers, Lots]:
        """What every account is worth at some prices, by the fold."""
        numbers: Numbers = {}
        lots: Lots = {}
        for account_id, books in self._accounts.items():
            value = sum(notional(quantity, closing[symbol]) for symbol, (quantity, _, _) in books.lots.items())
            numbers[account_id] = (books.cash, books.net_flow, books.realized, books.cash + value)
            lots[account_id] = dict(books.lots)
        return numbers, lots

    def served(self, address: str) -> tuple[Numbers, Lots]:
        """The same as EVS says it."""
        numbers: Numbers = {}
        lots: Lots = {}
        with Caller(address) as caller:
            for account_id in self._accounts:
                found, positions = caller.equity(account_id), caller.positions(account_id)
                equity = found.equity
                numbers[account_id] = (equity.cash_balance, found.net_flow, equity.realized_pnl, equity.total_equity)
                lots[account_id] = {
                    symbol: (own.quantity_bp, own.basis_cents, own.realized_pnl) for symbol, own in positions.items()
                }
        return numbers, lots

    def _verify_rows(self) -> None:
        found = self.tables.rows("SELECT account_id, version, total_equity, tick FROM equity_timeseries")
        assert len(found) == len({(row["account_id"], row["version"]) for row in found}), "a version is there twice"
        stored = {
            row["account_id"]: (row["cash_cents"], row["net_flow_cents"], row["realized_cents"])
            for row in self.tables.rows("SELECT * FROM evs.account")
        }
        assert {
            account_id: (books.cash, books.net_flow, books.realized) for account_id, books in self._accounts.items()
        } == stored
        by_tick = [(row["account_id"], row["tick"]) for row in found]
        assert len(by_tick) == len(set(by_tick)), "a tick of ours valued an account twice"

    # --- inside --------------------------------------------------------------------------------------------------

    def _settle(self) -> pb.EventRun:
        buyer, seller = self._random.sample(list(self._accounts), 2)
        symbol, price = self._random.choice(SYMBOLS), self._random.choice(PRICES)
        quantity_bp, fee = self._random.choice(QUANTITIES_BP), self._random.choice([0, 0, 7])
        self._accounts[buyer].fill(symbol, Side.BUY, quantity_bp, price, fee)
        self._accounts[seller].fill(symbol, Side.SELL, quantity_bp, price, 0)
        legs = [(buyer, symbol, Side.BUY, quantity_bp, price, fee), (seller, symbol, Side.SELL, quantity_bp, price, 0)]
        return trades(*legs)

    def _pay(self) -> pb.EventRun:
        account_id, amount = self._random.choice(list(self._accounts)), self._random.choice([-500, 2_000])
        self._accounts[account_id].cash += amount
        self._accounts[account_id].net_flow += amount
        return cash((account_id, amount))

    def _tell(self, event_count: int, *runs: pb.EventRun) -> None:
        self.event_count += event_count
        self.sender.add(event_count, *runs)

    def _send(self) -> None:
        try:
            self.sender.run()
        except BaseException as error:  # noqa: BLE001 -- told by whoever waits
            self._failure = error


@contextmanager
def started(tables: ExchangeTables, data_dir: Path, **settings: str) -> Iterator[tuple[Command, str]]:
    """``evs serve`` for a trial, ready."""
    with serving(tables.dsn, data_dir, **SETTINGS, **settings) as running:
        yield running
