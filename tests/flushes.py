"""What tests of the store write and compare: flushes of a few rows, and plain values of what comes back."""

from collections.abc import Iterable, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

import numpy as np

from evs_server.model import (
    AccountColumns,
    Columns,
    EngineMeta,
    EngineState,
    Flush,
    MarkColumns,
    NewcomerColumns,
    ParkedColumns,
    PositionColumns,
    SettlementColumns,
    SnapshotColumns,
    UnannouncedColumns,
    Valuation,
    Watermark,
)
from tests.builders import NOON_MS

C = TypeVar("C", bound=Columns)


def table(kind: type[C], rows: Iterable[Sequence[int]]) -> C:
    """Columns from rows."""
    width = len(fields(kind))
    return kind(*np.array(list(rows), np.int64).reshape(-1, width).T)


def a_valuation(
    version: int, equity_cents: dict[int, int], *, timestamp_ms: int = NOON_MS, percent_e4: int = 12_345, flags: int = 0
) -> Valuation:
    """One pass that found these accounts worth so much, a third of it in cash."""
    account_id = np.array(list(equity_cents), np.int64)
    equity = np.array(list(equity_cents.values()), np.int64)
    cash = equity // 3
    same = np.ones(len(equity), np.int64)
    return Valuation(
        version=version,
        tick=version + 1,
        timestamp_ms=timestamp_ms,
        columns=np.array(
            (account_id, equity, cash, equity - cash, -equity, same * percent_e4, equity + 7, equity * -2,
             equity * 2 - 7, same * flags)
        ),
    )  # fmt: skip


def snapshots(*valuations: Valuation) -> SnapshotColumns:
    """Snapshots of these passes, as a checkpoint has them."""
    names = [field.name for field in fields(SnapshotColumns)]
    found = (valuation.snapshot(index) for valuation in valuations for index in range(len(valuation)))
    return table(SnapshotColumns, [[getattr(snapshot, name) for name in names] for snapshot in found])


def a_watermark(source: str, epoch: int, first_sequence: int, digests: Sequence[int]) -> Watermark:
    """A source applied up to the last of these digests."""
    applied_sequence = first_sequence + len(digests) - 1
    return Watermark(source, epoch, applied_sequence, first_sequence, np.array(digests, np.uint64))


def a_flush(
    number: int,
    *,
    accounts: Iterable[Sequence[int]] = (),
    positions: Iterable[Sequence[int]] = (),
    marks: Iterable[Sequence[int]] = (),
    rows: Sequence[Valuation] = (),
    watermarks: Sequence[Watermark] = (),
    settlements: Iterable[Sequence[int]] = (),
    added: Iterable[Sequence[int]] = (),
    removed: Iterable[Sequence[int]] = (),
    latest: SnapshotColumns | None = None,
    meta: EngineMeta | None = None,
    event_count: int = 1,
    parked: Iterable[Sequence[int]] = (),
    released: Iterable[Sequence[int]] = (),
    newcomers: Iterable[Sequence[int]] = (),
) -> Flush:
    """A flush that carries this and nothing else; rows of tables in the order of their columns."""
    return Flush(
        number=number,
        event_count=event_count,
        state=EngineState(
            meta or EngineMeta(version=number, tick=number, session_start_ms=NOON_MS, tick_time_ms=NOON_MS),
            table(AccountColumns, accounts),
            table(PositionColumns, positions),
            table(MarkColumns, marks),
        ),
        rows=tuple(rows),
        watermarks=tuple(watermarks),
        settlements=table(SettlementColumns, settlements),
        unannounced_added=table(UnannouncedColumns, added),
        unannounced_removed=table(UnannouncedColumns, removed),
        latest=latest,
        parked_added=table(ParkedColumns, parked),
        parked_removed=table(ParkedColumns, released),
        newcomers=table(NewcomerColumns, newcomers),
    )


def a_parked_row(parked_id: int, account_id: int = 1) -> tuple[int, ...]:
    """A row of ``ParkedColumns``."""
    return parked_id, account_id, 1, 7, 2, 10_000, 5_000, 3, 99, 0


def an_account_row(account_id: int, cash_cents: int = 100, realized_cents: int = 0) -> tuple[int, ...]:
    """A row of ``AccountColumns``."""
    return account_id, cash_cents, -cash_cents, realized_cents, 5, -6, 1, 0


def a_position_row(
    account_id: int, symbol_id: int, quantity_bp: int = 10_000, realized_cents: int = 0
) -> tuple[int, ...]:
    """A row of ``PositionColumns``."""
    return account_id, symbol_id, quantity_bp, -3, realized_cents, 4, 5, -6, NOON_MS, 1


def a_mark_row(symbol_id: int, price_cents: int = 100) -> tuple[int, ...]:
    """A row of ``MarkColumns``."""
    return symbol_id, price_cents, 1, NOON_MS, price_cents - 1, 2, NOON_MS - 1, 1


def plain(value: Any) -> Any:
    """The same as lists, tuples and numbers, which compare."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, tuple | list):
        return [plain(part) for part in value]
    return value
