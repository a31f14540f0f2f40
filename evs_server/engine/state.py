"""
The engine's state as columns: what changed, everything, back again, and a digest of it. Pure.

Sums (an account's position value and unrealized) are not kept: they are made from scratch when state is restored.
"""

import hashlib
from collections.abc import Callable
from dataclasses import astuple, fields
from typing import TypeVar

import numpy as np

from evs_server.engine.book import Book
from evs_server.engine.bounds import loud_accounts, make_loud
from evs_server.engine.gathering import gather_accounts, gather_marks, gather_positions
from evs_server.engine.tables import owner_of, symbol_of
from evs_server.engine.valuation import position_values, sum_from_scratch
from evs_server.engine.views import latest_columns
from evs_server.model import (
    AccountColumns,
    Columns,
    EngineMeta,
    EngineState,
    Int64Array,
    MarkColumns,
    PositionColumns,
    SnapshotColumns,
)

C = TypeVar("C", bound=Columns)


def export(
    book: Book, handle: Int64Array, meta: EngineMeta, rows: tuple[Int64Array, Int64Array, Int64Array] | None
) -> EngineState:
    """
    Copies of some rows as they are now, or of all.

    Args:
        handle: Of everything.
        rows: Of accounts, positions and symbols; absent: all of them.
    """
    accounts, positions, symbols = rows or (
        np.arange(book.accounts.count), book.position_rows(), np.arange(book.symbols.count),
    )  # fmt: skip
    return EngineState(
        meta,
        _gathered(AccountColumns, gather_accounts, handle, accounts),
        _gathered(PositionColumns, gather_positions, handle, positions),
        _gathered(MarkColumns, gather_marks, handle, symbols),
    )


def _gathered(
    kind: type[C], gather: Callable[[Int64Array, Int64Array, Int64Array], None], handle: Int64Array, row: Int64Array
) -> C:
    if not len(row):
        return kind.empty()
    columns = np.empty((len(fields(kind)), len(row)), np.int64)
    gather(handle, row, columns)
    return kind(*columns)


def restore(
    book: Book, saved: EngineState, latest: SnapshotColumns
) -> tuple[Int64Array, Int64Array, Int64Array, Int64Array]:
    """
    Fill empty tables with a saved state, and make the sums that follow from it.

    Returns:
        What ``Changes.resume`` takes: rows of dirty accounts, of positions not yet valued as they are, of symbols whose
        mark has moved, and of those whose mark is not yet the valued one.
    """
    _restore_marks(book, saved.marks)
    _restore_accounts(book, saved.accounts)
    row = _restore_positions(book, saved.positions)
    _restore_latest(book, latest)
    accounts, lots, positions = book.accounts, book.lots, book.positions
    key = lots.key[row]
    price = book.symbols.valued_price_cents[symbol_of(key)]
    quantity, basis = positions.valued_quantity_bp[row], positions.valued_basis_cents[row]
    positions.value_cents[row] = position_values(quantity, price, basis)
    np.add.at(accounts.unpriced_count, owner_of(key), ((quantity != 0) & (price == 0)).astype(np.int32))
    sums = sum_from_scratch(book)
    accounts.position_value_cents[: accounts.count], accounts.unrealized_cents[: accounts.count] = sums
    for account_row in loud_accounts(book, np.arange(accounts.count), row):
        make_loud(book, account_row)
    untouched = (
        (lots.quantity_bp[row] == quantity)
        & (lots.basis_cents[row] == basis)
        & (lots.realized_cents[row] == positions.valued_realized_cents[row])
    )
    marks = saved.marks
    set_again = (
        (marks.changed != 0)
        | (marks.price_cents != marks.valued_price_cents)
        | (marks.source != marks.valued_source)
        | (marks.mark_time_ms != marks.valued_time_ms)
    )
    # A position that no valuation has seen must be seen by the next, though it may be back where it began.
    return (
        np.flatnonzero(saved.accounts.dirty),
        row[~untouched | ~positions.listed[row]],
        np.flatnonzero(marks.changed),
        np.flatnonzero(set_again),
    )


def digest(exported: EngineState) -> str:
    """SHA-256, as hex, of everything that events decide: rows by id, without clock times and versions."""
    sha = hashlib.sha256()
    meta = exported.meta
    sha.update(np.array([meta.tick, meta.session_start_ms, meta.tick_time_ms], "<i8").tobytes())
    timeless = {"updated_ms", "mark_time_ms", "valued_time_ms"}
    tables: list[tuple[Columns, tuple[Int64Array, ...]]] = [
        (exported.accounts, (exported.accounts.account_id,)),
        (exported.positions, (exported.positions.symbol_id, exported.positions.account_id)),
        (exported.marks, (exported.marks.symbol_id,)),
    ]
    for columns, keys in tables:
        order = np.lexsort(keys)
        for field in fields(columns):
            if field.name not in timeless:
                sha.update(getattr(columns, field.name)[order].astype("<i8").tobytes())
    return sha.hexdigest()


def _restore_marks(book: Book, marks: MarkColumns) -> None:
    symbols = book.symbols
    for symbol_id in marks.symbol_id.tolist():
        book.symbol_row_or_new(symbol_id)
    every = slice(0, symbols.count)
    symbols.price_cents[every] = marks.price_cents
    symbols.source[every] = marks.source
    symbols.mark_time_ms[every] = marks.mark_time_ms
    symbols.valued_price_cents[every] = marks.valued_price_cents
    symbols.valued_source[every] = marks.valued_source
    symbols.valued_time_ms[every] = marks.valued_time_ms


def _restore_accounts(book: Book, saved: AccountColumns) -> None:
    accounts = book.accounts
    book.add_accounts(saved.account_id)
    every = slice(0, accounts.count)
    accounts.cash_cents[every] = saved.cash_cents
    accounts.net_flow_cents[every] = saved.net_flow_cents
    accounts.realized_cents[every] = saved.realized_cents
    accounts.base_equity_cents[every] = saved.base_equity_cents
    accounts.base_net_flow_cents[every] = saved.base_net_flow_cents
    accounts.has_base[every] = saved.has_base != 0


def _restore_positions(book: Book, saved: PositionColumns) -> Int64Array:
    symbol_row = book.symbol_index.find(saved.symbol_id)
    book.expect_positions(symbol_row)
    row = book.add_positions(book.account_index.find(saved.account_id), symbol_row)
    lots, positions = book.lots, book.positions
    lots.quantity_bp[row] = saved.quantity_bp
    lots.basis_cents[row] = saved.basis_cents
    lots.realized_cents[row] = saved.realized_cents
    positions.valued_quantity_bp[row] = saved.valued_quantity_bp
    positions.valued_basis_cents[row] = saved.valued_basis_cents
    positions.valued_realized_cents[row] = saved.valued_realized_cents
    positions.updated_ms[row] = saved.updated_ms
    positions.listed[row] = saved.listed != 0
    np.maximum.at(book.symbols.quantity_bp_max, symbol_row, np.abs(saved.quantity_bp))
    return row


def _restore_latest(book: Book, saved: SnapshotColumns) -> None:
    assert len(saved) == book.accounts.count, "every account has a newest snapshot"
    row = book.account_index.find(saved.account_id)
    for column, values in zip(latest_columns(book), astuple(saved), strict=True):
        column[row] = values
