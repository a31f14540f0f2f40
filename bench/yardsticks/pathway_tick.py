"""
A tick in an incremental dataflow engine, Pathway: what a user might pick instead of an engine made for this.

Positions joined with prices, values added up by account, joined with its cash. A new price comes in by a connector, one
commit a tick; its changes come out by a subscription, and the tick is done when the engine says that its time is over.
Pathway runs as it does where nobody says otherwise, with one worker.

It and what it needs are no part of EVS's environment but of one of their own (``requirements-bench.lock``), so nothing
of ours is imported here. Run as a program with a folder of tables, it prints ``ready`` once all of them are valued, and
then answers each line of standard input with one of standard output: ``[[symbol, price_cents], ...]`` with
``{"seconds": ..., "rows": [...]}``, timed from the price's being handed over to the end of its time.
"""

import gc
import json
import os
import queue
import sys
import threading
import time
from pathlib import Path
from typing import Any, TextIO

import pathway as pw

LOAD_SECONDS, TICK_SECONDS = 240.0, 60.0
"""How long it may take."""

Move = list[tuple[int, int]]


class AccountRow(pw.Schema):  # type: ignore[misc]
    """An account: its cash, and what it was worth when the day began."""

    account: int = pw.column_definition(primary_key=True)
    cash: int
    base: int


class PositionRow(pw.Schema):  # type: ignore[misc]
    """What an account holds of one symbol."""

    account: int
    symbol: int
    quantity: int
    basis: int


class PriceRow(pw.Schema):  # type: ignore[misc]
    """A symbol's price; a later one takes its place."""

    symbol: int = pw.column_definition(primary_key=True)
    price: int


class Prices(pw.io.python.ConnectorSubject):  # type: ignore[misc]
    """All prices, and then those that move; each list is a commit of its own."""

    def __init__(self, first: Move) -> None:
        super().__init__(session_type="upsert")
        self._first = first
        self.moves: queue.Queue[Move] = queue.Queue(1)

    def run(self) -> None:
        """For good: the program ends with its caller."""
        move = self._first
        while True:
            for symbol, price in move:
                self.next(symbol=symbol, price=price)
            self.commit()
            move = self.moves.get()


class Dataflow:
    """A world in Pathway, whose graph is one a process; all of it is valued once this exists."""

    def __init__(self, folder: Path) -> None:
        first = json.loads((folder / "prices.json").read_text())
        self._prices = Prices(first)
        self._changes: list[dict[str, int]] = []
        self._told: queue.Queue[list[dict[str, int]]] = queue.Queue()
        account = pw.io.csv.read(folder / "accounts.csv", schema=AccountRow, mode="static")
        position = pw.io.csv.read(folder / "positions.csv", schema=PositionRow, mode="static")
        price = pw.io.python.read(self._prices, schema=PriceRow, autocommit_duration_ms=None)
        pw.io.subscribe(snapshots(account, position, price), on_change=self._on_change, on_time_end=self._on_time_end)
        threading.Thread(target=pw.run, kwargs={"monitoring_level": pw.MonitoringLevel.NONE}, daemon=True).start()
        account_count = len((folder / "accounts.csv").read_text().splitlines()) - 1
        seen: set[int] = set()
        while len(seen) < account_count:
            seen.update(row["account_id"] for row in self._told.get(timeout=LOAD_SECONDS))
        # What was loaded must not be walked by the collector within a tick.
        gc.collect()
        gc.freeze()

    def tick(self, move: Move) -> tuple[float, list[dict[str, int]]]:
        """Seconds until the last, and snapshots of all accounts that hold one of some symbols, at their new prices."""
        began = time.perf_counter()
        self._prices.moves.put(move)
        rows = self._told.get(timeout=TICK_SECONDS)
        return time.perf_counter() - began, rows

    def _on_change(self, key: object, row: dict[str, int], time: int, is_addition: bool) -> None:  # noqa: ARG002
        if is_addition:
            self._changes.append(row)

    def _on_time_end(self, time: int) -> None:  # noqa: ARG002
        if self._changes:
            self._told.put(self._changes)
            self._changes = []


def snapshots(account: Any, position: Any, price: Any) -> Any:
    """The graph: the newest snapshot of each account."""
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


def serve(dataflow: Dataflow, requests: TextIO, answers: TextIO) -> None:
    """A tick for each line."""
    print("ready", file=answers, flush=True)
    for line in requests:
        seconds, rows = dataflow.tick(json.loads(line))
        print(json.dumps({"seconds": seconds, "rows": rows}), file=answers, flush=True)


if __name__ == "__main__":
    # Whatever Pathway prints must not come between the answers.
    with os.fdopen(os.dup(sys.stdout.fileno()), "w") as told:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        serve(Dataflow(Path(sys.argv[1])), sys.stdin, told)
        # Its threads are in native code, and would be waited for.
        told.flush()
        os._exit(0)
