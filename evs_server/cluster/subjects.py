"""
What things are called in the log and beside it. Pure.

All that is put into the log is below ``evs.in``; what shards tell and are asked is not kept. Shards are in names by
number, sources by the hexadecimal digits of their names, since those may hold anything. A source's journal is on two
subjects, of which only one is for shards.
"""

from typing import Final

INPUT: Final = "evs.in.>"
"""Everything that is in the log."""

SHARED: Final = "evs.in.all"
"""Prices, prices of trades, ticks: for every shard."""

SOURCES: Final = "evs.in.source.>"
"""The journals of all sources."""

CARRIED: Final = "evs.in.source.*.whole"
"""Those of their entries that carry their batch's parts themselves: for every shard as well."""

NEWS: Final = "evs.news.*"
"""What all shards tell."""

LAST_VALUES: Final = "evs.last.>"
"""The newest valuation of every account."""

_SHARD: Final = "evs.in.shard"
_SOURCE: Final = "evs.in.source"
_PLAIN: Final = "journal"
_CARRIED: Final = "whole"
_NEWS: Final = "evs.news"
_ASK: Final = "evs.ask"
_LAST: Final = "evs.last"


def of_shard(shard: int) -> str:
    """Trades and flows of one virtual shard."""
    return f"{_SHARD}.{shard}"


def read_by(shard: int) -> tuple[str, str, str]:
    """All that one virtual shard has to see."""
    return of_shard(shard), SHARED, CARRIED


def of_source(source: str, *, carried: bool = False) -> str:
    """Entries of one source's journal, those that carry their batch's parts apart; a source has a name."""
    assert source, "the journal of an unsequenced batch is under the gateway's name"
    return f"{_SOURCE}.{source.encode().hex()}.{_CARRIED if carried else _PLAIN}"


def whole_journal(subject: str) -> str:
    """All entries of the journal that one of them is in."""
    return f"{subject.rpartition('.')[0]}.*"


def news_of(shard: int) -> str:
    """What one virtual shard tells."""
    return f"{_NEWS}.{shard}"


def ask_of(shard: int) -> str:
    """Questions to whoever owns a virtual shard."""
    return f"{_ASK}.{shard}"


def last_of(shard: int, account_id: int) -> str:
    """The newest valuation of one account."""
    return f"{_LAST}.{shard}.{account_id}"


def shard_in(subject: str) -> int:
    """The virtual shard that a subject of news names."""
    return int(subject.rpartition(".")[2])
