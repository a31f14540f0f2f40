"""
A tick in an incremental dataflow engine, Pathway: what a user might pick instead of an engine made for this.

Positions joined with prices, values added up by account, joined with its cash. A new price comes in by a connector, one
commit a tick; its changes come out by a subscription, and the tick is done when the engine says that its time is over.
Pathway is not among the dependencies: ``pip install pathway``, and the case is measured.
"""

import importlib
import queue
import threading
from typing import Any, Self

import numpy as np

from bench.world import World
from evs_server.model import Int64Array

WAIT_SECONDS = 600.0


class Dataflow:
    """
    The world in Pathway, which runs in a thread until it is closed. One a process: Pathway keeps its graph in a global.

    Args:
        world: All of it is loaded when ``of`` returns.
    """

    def __init__(self, world: World) -> None:
        self._moves: queue.Queue[list[tuple[int, int]] | None] = queue.Queue(1)
        self._changes: list[dict[str, int]] = []
        self._over: queue.Queue[int] = queue.Queue()
        self._thread = threading.Thread(target=self._run, args=(world,), daemon=True)

    @classmethod
    def of(cls, world: World) -> Self:
        """A dataflow that has valued all of a world."""
        dataflow = cls(world)
        dataflow._thread.start()
        seen = 0
        while seen < world.size.accounts:
            dataflow._over.get(timeout=WAIT_SECONDS)
            seen = len(dataflow._changes)
        return dataflow

    def tick(self, symbol: Int64Array, price_cents: Int64Array) -> list[dict[str, int]]:
        """Snapshots of all accounts that hold one of some symbols, at their new prices."""
        while not self._over.empty():
            self._over.get_nowait()
        self._changes.clear()
        self._moves.put(list(zip(symbol.tolist(), price_cents.tolist(), strict=True)))
        while not self._changes:
            self._over.get(timeout=WAIT_SECONDS)
        return list(self._changes)

    def close(self) -> None:
        """Let the engine end."""
        self._moves.put(None)
        self._thread.join(WAIT_SECONDS)

    def _run(self, world: World) -> None:
        pw = importlib.import_module("pathway")
        pw.io.subscribe(self._graph(pw, world), on_change=self._on_change, on_time_end=self._over.put)
        pw.run(monitoring_level=pw.MonitoringLevel.NONE)

    def _on_change(self, key: object, row: dict[str, int], time: int, is_addition: bool) -> None:  # noqa: ARG002
        if is_addition:
            self._changes.append(row)

    def _graph(self, pw: Any, world: World) -> Any:
        moves, first = self._moves, list(enumerate(world.price_cents.tolist()))

        class Prices(pw.io.python.ConnectorSubject):  # type: ignore[misc]
            """All prices, and then those that move."""

            def run(self) -> None:
                move: list[tuple[int, int]] | None = first
                while move is not None:
                    for symbol, price in move:
                        self.next(symbol=symbol, price=price)
                    self.commit()
                    move = moves.get()

        schema = pw.schema_from_types(symbol=int, price=int)
        told = pw.io.python.read(Prices(), schema=schema, autocommit_duration_ms=None)
        price = told.groupby(told.symbol).reduce(told.symbol, price=pw.reducers.latest(told.price))
        account, position = (pw.debug.table_from_pandas(frame) for frame in _frames(world))
        size, per_share = position.quantity * price.price, 10_000
        value = position.join(price, position.symbol == price.symbol).select(
            position.account,
            value=pw.if_else(position.quantity >= 0, size // per_share, -(-size // per_share)),
            basis=position.basis,
        )
        total = value.groupby(value.account).reduce(
            value.account, value=pw.reducers.sum(value.value), basis=pw.reducers.sum(value.basis)
        )
        return total.join(account, total.account == account.account).select(
            account_id=account.account,
            total_equity=account.cash + total.value,
            cash_balance=account.cash,
            position_value=total.value,
            day_change=account.cash + total.value - account.base,
            unrealized_pnl=total.value - total.basis,
        )


def _frames(world: World) -> tuple[Any, Any]:
    pd = importlib.import_module("pandas")
    basis = np.zeros(world.size.accounts, np.int64)
    np.add.at(basis, world.position_account, world.basis_cents)
    account_id = np.arange(1, world.size.accounts + 1)
    accounts = {"account": account_id, "cash": world.cash_cents, "base": world.cash_cents + basis}
    positions = {
        "account": world.position_account + 1,
        "symbol": world.position_symbol,
        "quantity": world.quantity_bp,
        "basis": world.basis_cents,
    }
    return pd.DataFrame(accounts), pd.DataFrame(positions)
