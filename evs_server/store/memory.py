"""
The store without a database: the stand-in for tests that are not about PostgreSQL. Pure, but for what it remembers.

It keeps the contract of ``postgres``; one suite of tests runs on both. The exchange's tables are plain attributes. What
makes it more than a dictionary: ``faults`` says what becomes of the next writes, so that the two outcomes which matter,
lost and unknown, can be had at will.
"""

import itertools
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum

import numpy as np

from evs_server.errors import Fenced, StoreUnavailable
from evs_server.limits import IMPORT_TRADES_MAX, SETTLEMENTS_KEPT
from evs_server.model import (
    AccountColumns,
    EngineMeta,
    EngineState,
    ExchangeAccount,
    ExchangeImport,
    Flush,
    Int64Array,
    MarkColumns,
    PositionColumns,
    Recovered,
    SettledTrade,
    SettlementColumns,
    SnapshotColumns,
    StretchColumns,
    Stride,
    UnannouncedColumns,
    Valuation,
)
from evs_server.store.merge import (
    ACCOUNT_KEY,
    MARK_KEY,
    PARKED_KEY,
    POSITION_KEY,
    UNANNOUNCED_KEY,
    concatenated,
    newcomers_kept_since_ms,
    newest,
    newest_watermarks,
    overlaid,
    selected,
    tail,
    without,
)

_NO_STRETCHES = StretchColumns.empty()


class Fault(Enum):
    """What becomes of a write."""

    LOST = "nothing is committed"
    UNKNOWN = "everything is committed, and the answer is lost"


@dataclass(frozen=True, slots=True)
class ExchangeTrade:
    """One row of the exchange's ``trades``, in the order of time."""

    account_id: int
    trade: SettledTrade


class Tables:
    """
    What survives: shared by several stores, it is one database that several processes use.

    Attributes:
        recovered: Our state, as the next start would find it but for its number.
        rows: Every valuation written, in order.
        balances_cents: The exchange's ``accounts``: balance by id, None where it is absent.
        positions: The exchange's ``positions``: quantity in bp and average cost in cents, by account and symbol.
        trades: The exchange's ``trades``, in the order of time.
        changed: Accounts whose row says that it has changed since it was made.
    """

    def __init__(self) -> None:
        empty = EngineState(EngineMeta(), AccountColumns.empty(), PositionColumns.empty(), MarkColumns.empty())
        self.recovered = Recovered(
            flush_number=0,
            start_number=0,
            imported=False,
            state=empty,
            latest=SnapshotColumns.empty(),
            watermarks=(),
            settlements=SettlementColumns.empty(),
            unannounced=UnannouncedColumns.empty(),
        )
        self.rows: tuple[Valuation, ...] = ()
        self.balances_cents: dict[int, int | None] = {}
        self.positions: dict[tuple[int, int], tuple[int, int]] = {}
        self.trades: list[ExchangeTrade] = []
        self.changed: set[int] = set()


class MemoryStore:
    """
    A ``ports.Store`` and ``ports.HistoryReader`` in memory.

    Attributes:
        tables: What is committed, and the exchange's tables.
        faults: Outcomes of the next writes, first to last; when there are none left they succeed.
    """

    def __init__(self, tables: Tables | None = None) -> None:
        self.tables = tables if tables is not None else Tables()
        self.faults: deque[Fault] = deque()
        self._start_number = 0

    async def recover(self) -> Recovered:
        """Take a start number and give everything that is committed."""
        self._start_number = self.tables.recovered.start_number + 1
        self.tables.recovered = replace(self.tables.recovered, start_number=self._start_number)
        return self.tables.recovered

    async def read_exchange(self) -> ExchangeImport:
        """All of the exchange's tables."""
        held = sorted((key, value) for key, value in self.tables.positions.items() if value[0] != 0)
        prices = {row.trade.symbol_id: row.trade.price_cents for row in self.tables.trades}
        accounts = sorted(self.tables.balances_cents.items())
        recent = sorted(self.tables.trades, key=lambda row: -row.trade.trade_id)[:IMPORT_TRADES_MAX]
        return ExchangeImport(
            account_id=_int64([account_id for account_id, _ in accounts]),
            cash_cents=_int64([cash_cents or 0 for _, cash_cents in accounts]),
            position_account_id=_int64([account_id for (account_id, _), _ in held]),
            position_symbol_id=_int64([symbol_id for (_, symbol_id), _ in held]),
            position_quantity_bp=_int64([quantity_bp for _, (quantity_bp, _) in held]),
            position_avg_cost_cents=_int64([cost_cents for _, (_, cost_cents) in held]),
            price_symbol_id=_int64(sorted(prices)),
            price_cents=_int64([price_cents for _, price_cents in sorted(prices.items())]),
            recent_account_id=_int64([row.account_id for row in recent]),
            recent_trade_id=_int64([row.trade.trade_id for row in recent]),
        )

    async def read_accounts(self, account_ids: Collection[int]) -> Mapping[int, ExchangeAccount]:
        """Those of the accounts that exist, with all their trades."""
        balances = self.tables.balances_cents
        rows = sorted(self.tables.trades, key=lambda row: row.trade.trade_id)
        return {
            account_id: ExchangeAccount(
                account_id,
                balances[account_id] or 0,
                tuple(row.trade for row in rows if row.account_id == account_id),
                account_id in self.tables.changed,
            )
            for account_id in sorted(set(account_ids) & balances.keys())
        }

    async def write(self, flush: Flush) -> None:
        """
        Commit one flush, whole, once.

        Raises:
            Fenced: If a newer start has taken over.
            StoreUnavailable: If ``faults`` says so, or rows break what the database would check.
        """
        assert self._start_number, "recover comes before write"
        kept = self.tables.recovered
        if kept.start_number != self._start_number:
            raise Fenced(
                f"start {kept.start_number} has taken over from start {self._start_number}",
                start_number=kept.start_number,
                own_start_number=self._start_number,
            )
        fault = self.faults.popleft() if self.faults else None
        if fault is Fault.LOST:
            raise StoreUnavailable(f"could not write flush {flush.number}: {fault.value}", flush_number=flush.number)
        if kept.flush_number < flush.number:
            self._check(flush.rows)
            self.tables.rows += flush.rows
            self.tables.recovered = _with(kept, flush)
        if fault is Fault.UNKNOWN:
            raise StoreUnavailable(f"could not write flush {flush.number}: {fault.value}", flush_number=flush.number)

    async def read_stretches(
        self, account_id: int, after: tuple[int, int], until_ms: int, rows_max: int, stride: Stride | None
    ) -> StretchColumns:
        """The next rows of an account's history, summed up by the steps of a stride."""
        rows = [row for row in self._history(account_id) if row[:2] > after and row[0] < until_ms][:rows_max]
        if stride is None:
            return _stretches([[row] for row in rows])
        groups = itertools.groupby(rows, lambda row: (row[0] - stride.origin_ms) // stride.width_ms)
        return _stretches([list(group) for _, group in groups])

    async def read_newest(self, account_id: int, until_ms: int) -> StretchColumns:
        """The newest row of an account's history that is older than ``until_ms``."""
        return _stretches([[row] for row in self._history(account_id) if row[0] < until_ms][-1:])

    async def close(self) -> None:
        """Nothing to let go of."""

    def _history(self, account_id: int) -> list[tuple[int, int, int, int, int]]:
        """Time, version, equity, realized and net flow of each row, in order."""
        return sorted(
            (
                valuation.timestamp_ms,
                valuation.version,
                int(valuation.equity_cents[index]),
                int(valuation.realized_cents[index]),
                int(valuation.net_flow_cents[index]),
            )
            for valuation in self.tables.rows
            for index in np.flatnonzero(valuation.account_id == account_id)
        )

    def _check(self, rows: Sequence[Valuation]) -> None:
        if not all(np.array_equal(row.equity_cents, row.cash_cents + row.position_value_cents) for row in rows):
            raise StoreUnavailable("could not write rows: total_equity is not cash_balance + position_value")
        keys = [key for row in (*self.tables.rows, *rows) for key in _row_keys(row)]
        if len(keys) != len(set(keys)):
            raise StoreUnavailable("could not write rows: an account has two of one version and timestamp")


def _with(kept: Recovered, flush: Flush) -> Recovered:
    state = kept.state
    latest = kept.latest if flush.latest is None else flush.latest
    newcomers = newest([kept.newcomers, flush.newcomers], ACCOUNT_KEY)
    return Recovered(
        flush_number=flush.number,
        start_number=kept.start_number,
        imported=True,
        state=EngineState(
            flush.state.meta,
            newest([state.accounts, flush.state.accounts], ACCOUNT_KEY),
            newest([state.positions, flush.state.positions], POSITION_KEY),
            newest([state.marks, flush.state.marks], MARK_KEY),
        ),
        latest=overlaid(latest, [snapshot_columns(valuation) for valuation in flush.rows]),
        watermarks=tuple(
            sorted(newest_watermarks([*kept.watermarks, *flush.watermarks]), key=lambda watermark: watermark.source)
        ),
        settlements=tail(concatenated([kept.settlements, flush.settlements]), SETTLEMENTS_KEPT),
        unannounced=without(
            newest([kept.unannounced, flush.unannounced_added], UNANNOUNCED_KEY),
            flush.unannounced_removed,
            UNANNOUNCED_KEY,
        ),
        parked=without(newest([kept.parked, flush.parked_added], PARKED_KEY), flush.parked_removed, PARKED_KEY),
        newcomers=selected(newcomers, newcomers.until_ms >= newcomers_kept_since_ms(flush.newcomers)),
        rows_since_checkpoint=_rows_since_checkpoint(kept, flush),
    )


def _rows_since_checkpoint(kept: Recovered, flush: Flush) -> int:
    if flush.latest is None:
        return kept.rows_since_checkpoint + sum(map(len, flush.rows))
    latest_version = flush.latest.version.max(initial=0)
    return sum(len(valuation) for valuation in flush.rows if valuation.version > latest_version)


def snapshot_columns(valuation: Valuation) -> SnapshotColumns:
    """The snapshots of one pass, each with its version, tick and time."""

    def repeated(value: int) -> Int64Array:
        return np.full(len(valuation), value, np.int64)

    return SnapshotColumns(
        account_id=valuation.account_id,
        version=repeated(valuation.version),
        tick=repeated(valuation.tick),
        timestamp_ms=repeated(valuation.timestamp_ms),
        equity_cents=valuation.equity_cents,
        cash_cents=valuation.cash_cents,
        position_value_cents=valuation.position_value_cents,
        day_change_cents=valuation.day_change_cents,
        day_change_percent_e4=valuation.day_change_percent_e4,
        unrealized_cents=valuation.unrealized_cents,
        realized_cents=valuation.realized_cents,
        net_flow_cents=valuation.net_flow_cents,
        flags=valuation.flags,
    )


def _stretches(groups: Sequence[Sequence[tuple[int, int, int, int, int]]]) -> StretchColumns:
    stretches = [
        (
            rows[0][0],
            *rows[-1][:2],
            rows[0][2],
            max(row[2] for row in rows),
            min(row[2] for row in rows),
            *rows[-1][2:],
            len(rows),
        )
        for rows in groups
    ]
    return StretchColumns(*(_int64(column) for column in zip(*stretches, strict=True))) if stretches else _NO_STRETCHES


def _row_keys(valuation: Valuation) -> list[tuple[int, int, int]]:
    return [(account_id, valuation.timestamp_ms, valuation.version) for account_id in valuation.account_id.tolist()]


def _int64(values: Sequence[int]) -> Int64Array:
    return np.array(values, np.int64)
