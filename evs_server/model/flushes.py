"""What a flush carries, and what a start finds. Pure."""

from dataclasses import dataclass, field

from evs_server.model.base import Columns, Int64Array, UInt64Array
from evs_server.model.exchange import CorrectionColumns
from evs_server.model.state import EngineState, SnapshotColumns
from evs_server.model.valuations import Valuation


@dataclass(frozen=True, slots=True)
class Watermark:
    """
    How far one source is applied, and the content of what was applied since the last flush.

    Attributes:
        first_sequence: Sequence of ``digest[0]``.
        digest: Digests of ``first_sequence`` .. ``applied_sequence``, or empty if none is new.
    """

    source: str
    epoch: int
    applied_sequence: int
    first_sequence: int
    digest: UInt64Array


@dataclass(frozen=True, slots=True)
class SettlementColumns(Columns):
    """Settlement ids of unsequenced trades that were applied, in order."""

    account_id: Int64Array
    side: Int64Array
    settlement_id: Int64Array


@dataclass(frozen=True, slots=True)
class UnannouncedColumns(Columns):
    """Trades that were among the rows an account was loaded from, and of which EVS has yet to be told."""

    account_id: Int64Array
    trade_id: Int64Array
    symbol_id: Int64Array
    side: Int64Array
    quantity_bp: Int64Array
    price_cents: Int64Array


@dataclass(frozen=True, slots=True)
class ParkedColumns(Columns):
    """
    Events that count as applied but wait for their account to be read from the exchange's tables.

    ``kind`` 1 is a trade, 2 a flow; a flow uses ``amount_cents`` alone, a trade all the others.
    """

    parked_id: Int64Array
    account_id: Int64Array
    kind: Int64Array
    symbol_id: Int64Array
    side: Int64Array
    quantity_bp: Int64Array
    price_cents: Int64Array
    fee_cents: Int64Array
    settlement_id: Int64Array
    amount_cents: Int64Array


@dataclass(frozen=True, slots=True)
class NewcomerColumns(Columns):
    """Accounts loaded with trades: what they were funded with by the exchange's tables, and until when that counts."""

    account_id: Int64Array
    funding_cents: Int64Array
    until_ms: Int64Array


@dataclass(frozen=True, slots=True)
class Flush:
    """
    Everything that changed since the flush before, captured in one step: it commits as a whole or not at all.

    Attributes:
        number: Grows by one with each flush, restarts included.
        event_count: Events applied since the flush before.
        state: Changed rows of the engine's tables, and its meta.
        rows: Valuation passes, or what is stored of them, to append to ``equity_timeseries``; of each account ascending
            by version.
        watermarks: Sources that moved.
        settlements: Settlement ids to remember.
        unannounced_added: Trades read with an account's load.
        unannounced_removed: Of those, the ones announced since: ``account_id`` and ``trade_id`` count.
        latest: With a checkpoint, the newest snapshot of every account; recovery reads no older rows.
        parked_added: Events that wait for their account.
        parked_removed: Of those, the ones that wait no longer: ``parked_id`` counts.
        newcomers: Accounts loaded with trades, new or changed.
        corrections: What was corrected, for the record.
    """

    number: int
    event_count: int
    state: EngineState
    rows: tuple[Valuation, ...]
    watermarks: tuple[Watermark, ...]
    settlements: SettlementColumns
    unannounced_added: UnannouncedColumns
    unannounced_removed: UnannouncedColumns
    latest: SnapshotColumns | None = None
    parked_added: ParkedColumns = field(default_factory=ParkedColumns.empty)
    parked_removed: ParkedColumns = field(default_factory=ParkedColumns.empty)
    newcomers: NewcomerColumns = field(default_factory=NewcomerColumns.empty)
    corrections: CorrectionColumns = field(default_factory=CorrectionColumns.empty)


@dataclass(frozen=True, slots=True)
class Recovered:
    """
    What a start finds in Postgres: the fold of exactly the events up to ``watermarks``.

    Attributes:
        flush_number: The last committed flush; 0 if none ever was.
        start_number: This start's own, already counted up; the high bits of its versions, and its right to write.
        imported: False before the first import of the exchange's tables.
        rows_since_checkpoint: Rows of history newer than the last checkpoint: what each start has to read again.
    """

    flush_number: int
    start_number: int
    imported: bool
    state: EngineState
    latest: SnapshotColumns
    watermarks: tuple[Watermark, ...]
    settlements: SettlementColumns
    unannounced: UnannouncedColumns
    parked: ParkedColumns = field(default_factory=ParkedColumns.empty)
    newcomers: NewcomerColumns = field(default_factory=NewcomerColumns.empty)
    rows_since_checkpoint: int = 0
