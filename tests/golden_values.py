"""
The values behind the golden frames (`tests/golden`), and the frames that the bridge makes of them.
"""

from pathlib import Path

from evs_server.bridge import frames
from evs_server.bridge.values import (
    Cluster,
    EquityData,
    EquityValue,
    Failure,
    History,
    HistoryPoint,
    Killed,
    Leaderboard,
    Performance,
    Place,
    PositionRow,
    Positions,
    VirtualShard,
)
from evs_server.limits import EXACT_MAX

GOLDEN = Path(__file__).parent / "golden"

# Vector 2 of DESIGN 3: a deposit of 1,000,000, 100 shares bought at 5000, now at 6000.
DATA = EquityData(7, 42, 1_700_000_000, 1_100_000, 500_000, 600_000, 100_000, 10.0, 100_000, 0)
VALUE = EquityValue(DATA, version=4_294_967_297, snapshot=True, conflated=0, flags=())
SHORT = EquityData(8, 43, 1_700_000_001, -25, 275_000, -275_025, -25, -0.0025, -25, 50_000)
WARNED = EquityValue(SHORT, version=EXACT_MAX, snapshot=False, conflated=0, flags=("UNPRICED", "NO_BASE"))
HELD = Positions(
    [
        PositionRow(1, 1_000_000, 5_000, 500_000, 6_000, "MARK", 600_000, 100_000, 0, 1_700_000_000, 1_700_000_000_250),
        PositionRow(9, -5_000, 333, -166, 333, "COST", -166, 0, -12, 1_699_999_999, 0),
    ],
    version=4_294_967_297,
)
PAGE = History(
    "1m",
    [
        HistoryPoint(1_699_999_920, 1_000_000, 1_100_250, 999_975, 1_050_000, 0, 1_000_000, True),
        HistoryPoint(1_699_999_980, 1_050_000, 1_100_000, 1_050_000, 1_100_000, -250, 1_000_000, True),
    ],
    "1700000040",
)
LAST_PAGE = History(
    "1m", [HistoryPoint(1_700_000_040, 1_100_000, 1_100_000, 1_099_975, 1_100_000, -250, 1_000_000, False)], None
)
MADE = Performance(
    start=1_697_328_000,
    end=1_700_000_000,
    start_equity=1_000_000,
    end_equity=1_100_000,
    net_flow=50_000,
    profit=50_000,
    time_weighted_return_percent=4.7619,
    max_drawdown_percent=-12.5,
    drawdown_percent=0.0,
    high_water_mark=1_050_000,
    high_water_time=1_700_000_000,
    version=4_294_967_297,
)
OWN = Place(2, None, 1.25, True)
BOARD = Leaderboard(
    "1W", [Place(1, "Ada", 12.5, False), OWN, Place(2, "Zoë", 1.25, False)], OWN, 50, version=4_294_967_297
)
EMPTY_BOARD = Leaderboard("1D", [], None, 0, version=4_294_967_297)
SHARDS = Cluster(
    4_200,
    [
        VirtualShard(0, "shard-0", 3, 4_199, 4_187, 0, False, 1_699_999_990_000, 1_699_999_999_900),
        VirtualShard(1, "shard-2", 2, 4_100, 4_100, 4_250, False, 1_699_999_940_000, 1_699_999_995_750),
        VirtualShard(2, "", 0, 0, 0, 0, True, 0, 0),
    ],
    1_700_000_000_000,
)
WRONG_RANGE = 'equity.history: range "2D" is none of 1D, 1W, 1M, 3M, 1Y, ALL'

FRAMES = {
    "authenticated": frames.authenticated(1, 7),
    "subscribed": frames.subscribed("s-2", now=True),
    "unsubscribed": frames.subscribed(3, now=False),
    "pong": frames.pong(4),
    "summary": frames.summary(5, VALUE),
    "positions": frames.result(6, HELD),
    "error": frames.refusal(7, Failure("UNAUTHENTICATED", "not authenticated: send auth.jwt with a token first")),
    "error_without_id": frames.refusal(None, Failure("INVALID_REQUEST", "not valid JSON")),
    "error_invalid": frames.refusal(11, Failure("INVALID_REQUEST", WRONG_RANGE)),
    "history": frames.result(8, PAGE),
    "history_next": frames.result(12, LAST_PAGE),
    "history_empty": frames.result(14, History("1d", [], None)),
    "performance": frames.result(9, MADE),
    "leaderboard": frames.result(10, BOARD),
    "leaderboard_unranked": frames.result(13, EMPTY_BOARD),
    "cluster": frames.result(15, SHARDS),
    "shard_killed": frames.result(16, Killed("shard-2")),
    "equity_snapshot": frames.equity(VALUE, snapshot=True, conflated=0),
    "equity_change": frames.equity(WARNED, snapshot=False, conflated=3),
    "status_stale": frames.stale(1_700_000_000_123),
    "status_live": frames.live(),
    "status_expiring": frames.expiring(25_000),
}
