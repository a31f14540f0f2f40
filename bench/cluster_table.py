"""
What ``cluster_work`` has counted, as a table: how much of the work is shared out, and how much each has again.

Lives here: which quantities there are, in words, and how a table is laid out. Not here: counting; who writes the page.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

WORKERS: Final = (1, 2, 4, 8, 16)
"""Numbers of workers that are counted."""

COLUMNS: Final = (
    "one process",
    "all shards",
    *(f"{count} workers" if count > 1 else "1 worker" for count in WORKERS),
    "virtual shard",
)
"""One process with all accounts; all 64 virtual shards together; the busiest of so many workers; the busiest shard."""

SHARED_OUT: Final[Mapping[str, str]] = {
    "messages": "messages read from the log",
    "bytes": "bytes of them",
    "events": "events applied, prices and observed prices among them",
    "positions_valued": "positions valued",
    "accounts_valued": "accounts valued",
    "rows": "rows written, of history and of state",
    "news": "messages told to gateways",
    "news_bytes": "bytes of them",
}
"""What each virtual shard has of its own."""

OF_WORKER: Final[Mapping[str, str]] = {
    "transactions": "transactions",
    "statements": "statements and copies in them",
}
"""What the virtual shards of one worker have together."""

QUANTITIES: Final = {**SHARED_OUT, **OF_WORKER}


def table_lines(counted: Mapping[str, Any]) -> Sequence[str]:
    """One load as a table, with what it is above."""
    log = counted["log"]
    return [
        f"{counted['load']}. The log takes {_written(log['messages'])} messages, {_written(log['bytes'])} bytes.",
        "",
        f"| each second | one `evs serve` | {' | '.join(COLUMNS[1:])} |",
        f"|---|{'--:|' * len(COLUMNS)}",
        *(_line(about, counted["counts"][name]) for name, about in QUANTITIES.items()),
        "",
    ]


def _line(about: str, counts: Mapping[str, float | None]) -> str:
    return f"| {about} | {' | '.join(_written(counts[column]) for column in COLUMNS)} |"


def _written(count: float | None) -> str:
    """A count for people; a second has tenths of what comes in ten."""
    if count is None:
        return ""
    return f"{count:,.0f}" if count >= 100 or count == int(count) else f"{count:.1f}"
