"""
The vocabulary that all rooms share: events, snapshots, state. Plain values without behaviour. Pure.

Money in cents, quantities in bp, times in unix milliseconds unless the name says otherwise. Columns are int64 arrays;
entry ``i`` of each column of one object belongs to the same row.
"""

from evs_server.model.base import (
    BoolArray,
    Columns,
    Flag,
    Int32Array,
    Int64Array,
    MarkSource,
    Side,
    UInt64Array,
    quickly_made,
)
from evs_server.model.events import Batch, CashRun, ObservedRun, PriceRun, Run, TickRun, TradeRun, part_of
from evs_server.model.exchange import (
    Change,
    CorrectedField,
    Correction,
    CorrectionColumns,
    CorrectionKind,
    ExchangeAccount,
    ExchangeImport,
    Holding,
    Holdings,
    Ledger,
    SettledTrade,
)
from evs_server.model.flushes import (
    Flush,
    NewcomerColumns,
    ParkedColumns,
    Recovered,
    SettlementColumns,
    UnannouncedColumns,
    Watermark,
)
from evs_server.model.history import HistoryRange, Resolution, StretchColumns, Stride
from evs_server.model.returns import Close, CloseColumns, Past, StoredValuation
from evs_server.model.state import (
    AccountColumns,
    EngineMeta,
    EngineState,
    MarkColumns,
    PositionColumns,
    SnapshotColumns,
)
from evs_server.model.valuations import VALUATION_COLUMNS, PositionView, Snapshot, Valuation, table_of

__all__ = [
    "VALUATION_COLUMNS",
    "AccountColumns",
    "Batch",
    "BoolArray",
    "CashRun",
    "Change",
    "Close",
    "CloseColumns",
    "Columns",
    "CorrectedField",
    "Correction",
    "CorrectionColumns",
    "CorrectionKind",
    "EngineMeta",
    "EngineState",
    "ExchangeAccount",
    "ExchangeImport",
    "Flag",
    "Flush",
    "HistoryRange",
    "Holding",
    "Holdings",
    "Int32Array",
    "Int64Array",
    "Ledger",
    "MarkColumns",
    "MarkSource",
    "NewcomerColumns",
    "ObservedRun",
    "ParkedColumns",
    "Past",
    "PositionColumns",
    "PositionView",
    "PriceRun",
    "Recovered",
    "Resolution",
    "Run",
    "SettledTrade",
    "SettlementColumns",
    "Side",
    "Snapshot",
    "SnapshotColumns",
    "StoredValuation",
    "StretchColumns",
    "Stride",
    "TickRun",
    "TradeRun",
    "UInt64Array",
    "UnannouncedColumns",
    "Valuation",
    "Watermark",
    "part_of",
    "quickly_made",
    "table_of",
]
