"""What readers are shown: accounts and positions as of their newest valuation, never half a tick. Pure."""

from dataclasses import fields

from evs_server.engine.arithmetic import divide_toward_zero
from evs_server.engine.book import Book
from evs_server.engine.tables import symbol_of
from evs_server.limits import BP_PER_SHARE
from evs_server.model import Int64Array, MarkSource, PositionView, Snapshot, SnapshotColumns


def snapshot(book: Book, account_id: int) -> Snapshot | None:
    """An account's newest snapshot, or None if the account is not in the book."""
    row = book.account_row.get(account_id)
    return None if row is None else Snapshot(*(column.item(row) for column in latest_columns(book)))


def snapshots(book: Book) -> SnapshotColumns:
    """Copies of every account's newest snapshot, by account row."""
    return SnapshotColumns(*(column[: book.accounts.count].copy() for column in latest_columns(book)))


def session_base(book: Book, account_id: int) -> tuple[int, int] | None:
    """Equity and net flow from which an account's day change counts, or None if it has no base yet."""
    row, accounts = book.account_row[account_id], book.accounts
    if not accounts.has_base[row]:
        return None
    return accounts.base_equity_cents.item(row), accounts.base_net_flow_cents.item(row)


def latest_columns(book: Book) -> tuple[Int64Array, ...]:
    """The columns of the newest snapshots, in the order of ``SnapshotColumns`` (and of ``Snapshot``)."""
    return tuple(getattr(book.latest, field.name) for field in fields(SnapshotColumns))


def positions(book: Book, account_id: int) -> list[PositionView]:
    """An account's positions, ascending by symbol, closed ones included; without those opened since it was valued."""
    rows = book.position_rows_of_account(book.account_row[account_id])
    views = [_position(book, row) for row in rows if book.positions.listed[row]]
    return sorted(views, key=lambda view: view.symbol_id)


def _position(book: Book, position_row: int) -> PositionView:
    table, symbols = book.positions, book.symbols
    symbol_row = symbol_of(book.lots.key.item(position_row))
    quantity_bp = table.valued_quantity_bp.item(position_row)
    basis_cents = table.valued_basis_cents.item(position_row)
    value_cents = table.value_cents.item(position_row)
    average = divide_toward_zero(abs(basis_cents) * BP_PER_SHARE, abs(quantity_bp)) if quantity_bp else 0
    price = symbols.valued_price_cents.item(symbol_row)
    source = MarkSource(symbols.valued_source.item(symbol_row)) if price else MarkSource.COST
    return PositionView(
        symbol_id=symbols.symbol_id.item(symbol_row),
        quantity_bp=quantity_bp,
        avg_cost_cents=average,
        basis_cents=basis_cents,
        mark_cents=price or average,
        mark_source=source if price or quantity_bp else MarkSource.NONE,
        mark_time_ms=symbols.valued_time_ms.item(symbol_row) if price else 0,
        value_cents=value_cents,
        unrealized_cents=value_cents - basis_cents,
        realized_cents=table.valued_realized_cents.item(position_row),
        updated_ms=table.updated_ms.item(position_row),
    )
