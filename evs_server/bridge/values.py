"""
What EVS says of an account, as the bridge hands it on. Pure.

Lives here: the values between the contract's messages (``codec``) and the JSON (``frames``). Each ``Struct`` is a piece
of JSON as it stands: its field names are keys, in this order. Nothing here computes; money is in cents.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from msgspec import Struct


class EquityData(Struct, frozen=True):
    """The ten fields of an equity frame's ``data``: money in cents, ``timestamp`` in unix seconds."""

    account_id: int
    tick: int
    timestamp: int
    total_equity: int
    cash_balance: int
    position_value: int
    day_change: int
    day_change_percent: float
    unrealized_pnl: int
    realized_pnl: int


class EquityValue(Struct, frozen=True):
    """
    One value of an account, as EVS sent it.

    Attributes:
        data: The ten fields.
        version: The valuation pass that made it.
        snapshot: True for the first value of a stream from EVS.
        conflated: Values that EVS skipped before it.
        flags: What to know about it, by name.
    """

    data: EquityData
    version: int
    snapshot: bool
    conflated: int
    flags: tuple[str, ...]


class PositionRow(Struct, frozen=True):
    """One position; fields as in the contract's ``Position``."""

    symbol_id: int
    quantity_bp: int
    avg_cost: int
    basis_cents: int
    mark_price: int
    mark_source: str
    market_value: int
    unrealized_pnl: int
    realized_pnl: int
    last_updated: int
    mark_time: int


class Positions(Struct, frozen=True):
    """All positions of an account as of one version."""

    positions: Sequence[PositionRow]
    version: int


class HistoryPoint(Struct, frozen=True):
    """One bucket of time; fields as in the contract's ``EquityPoint``."""

    time: int
    open: int
    high: int
    low: int
    last: int
    realized_pnl: int
    net_flow: int
    final: bool


class History(Struct, frozen=True):
    """
    One page of an account's history.

    Attributes:
        resolution: How much time a point stands for, as requests name it.
        points: Ascending by time.
        next: What asks for the page after this one; None after the last.
    """

    resolution: str
    points: Sequence[HistoryPoint]
    next: str | None


class Performance(Struct, frozen=True):
    """What an account has made; fields as in the contract's ``GetPerformanceResponse``."""

    start: int
    end: int
    start_equity: int
    end_equity: int
    net_flow: int
    profit: int
    time_weighted_return_percent: float
    max_drawdown_percent: float
    drawdown_percent: float
    high_water_mark: int
    high_water_time: int
    version: int


class Place(Struct, frozen=True):
    """
    One account's place on the leaderboard. It has no id: a browser learns of no account's but its own.

    Attributes:
        rank: From 1; equal returns share one.
        name: None where the exchange's tables have none.
        return_percent: Over the leaderboard's range.
        own: True if it is the asking account's.
    """

    rank: int
    name: str | None
    return_percent: float
    own: bool


class Leaderboard(Struct, frozen=True):
    """
    The first places.

    Attributes:
        range: Over which time, as requests name it.
        entries: By rank.
        own: The asking account's place, whether among the entries or not; None if it is not ranked.
        ranked_count: How many accounts are.
        version: The newest valuation that went in.
    """

    range: str
    entries: Sequence[Place]
    own: Place | None
    ranked_count: int
    version: int


class VirtualShard(Struct, frozen=True):
    """One virtual shard; fields as in the contract's, times in unix milliseconds."""

    shard: int
    owner: str
    start_number: int
    applied_position: int
    committed_position: int
    lag_ms: int
    silent: bool
    owned_since: int
    heard: int


class Cluster(Struct, frozen=True):
    """The virtual shards of a cluster; fields as in the contract's ``GetClusterResponse``."""

    last_position: int
    shards: Sequence[VirtualShard]
    time: int


class Killed(Struct, frozen=True):
    """A worker of the demo that has been killed, by its name."""

    killed: str


@dataclass(frozen=True, slots=True)
class Failure:
    """
    Why a request is refused.

    Attributes:
        code: A reason of ``errors``, for a program.
        message: One sentence, for a person.
    """

    code: str
    message: str


Outcome = EquityValue | Positions | History | Performance | Leaderboard | Cluster | Killed | Failure
"""What a read comes to."""
