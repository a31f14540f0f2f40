"""
What the owner of a virtual shard tells and answers. Pure; values, and how large news is told in pieces.

A message of NATS is of bounded size, and a session roll values every account of a shard at once. So news is told in
pieces of ``NEWS_ROWS_MAX`` snapshots; only the last says how far the shard is, so that who waits for a position has
all that led there.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from evs_server.errors import EvsError
from evs_server.model import Int64Array, SettlementColumns, SnapshotColumns, Valuation

NEWS_ROWS_MAX: Final = 8_192
"""Snapshots in one message: about 100 bytes each if every column is as large as can be."""


@dataclass(frozen=True, slots=True)
class Pass:
    """One valuation pass; ``batch_id`` is that of the batch whose tick it completed, or empty."""

    batch_id: str
    valuation: Valuation


@dataclass(frozen=True, slots=True)
class ShardRefusal:
    """An event, by its place in the batch as it was sent, that the shard refused though the gateway could not."""

    batch_id: str
    index: int
    error: EvsError


@dataclass(frozen=True, slots=True)
class News:
    """
    What the owner of a virtual shard tells.

    Attributes:
        start_number: Of the owner's start; a higher one has taken over.
        number: Grows by one with each message; a gap says that one was lost.
        owner: The owner's name, for people.
        applied_position: Everything up to here is applied; 0 if more of the same follows.
        committed_position: Everything up to here is committed; 0 if more of the same follows.
        applied_ms: ``taken_ms`` of the newest part applied.
        passes: Ascending by version.
        account_count: Accounts that the shard has.
        degraded_since_ms: Since when what is applied has not been getting stored; None if all is well.
        session_start_ms: When its current session began; see ``EngineMeta``.
    """

    shard: int
    start_number: int
    number: int
    owner: str
    applied_position: int
    committed_position: int
    applied_ms: int
    passes: tuple[Pass, ...] = ()
    refusals: tuple[ShardRefusal, ...] = ()
    account_count: int = 0
    degraded_since_ms: int | None = None
    session_start_ms: int = -1


def in_pieces(news: News, rows_max: int = NEWS_ROWS_MAX) -> Iterator[News]:
    """
    The same as messages of bounded size, numbered from ``news.number`` on; most news is one.

    Refusals are few, and go with the last.
    """
    number, passes, room = news.number, list[Pass](), rows_max
    for made in news.passes:
        start, count = 0, len(made.valuation)
        while count - start > room:
            passes.append(Pass(made.batch_id, made.valuation.part(slice(start, start + room))))
            yield replace(
                news, number=number, applied_position=0, committed_position=0, passes=tuple(passes), refusals=()
            )
            number, passes, start, room = number + 1, [], start + room, rows_max
        passes.append(Pass(made.batch_id, made.valuation.part(slice(start, count))))
        room -= count - start
    yield replace(news, number=number, passes=tuple(passes))


@dataclass(frozen=True, slots=True)
class EnsureRequest:
    """
    Asks an owner to make accounts known, and which settlements of unsequenced callers it has had already.

    ``at_least_position``: it answers once it has applied the log up to here.
    """

    account_id: Int64Array
    settlements: SettlementColumns = field(default_factory=SettlementColumns.empty)
    at_least_position: int = 0


@dataclass(frozen=True, slots=True)
class EnsureResponse:
    """
    Answers ``EnsureRequest``.

    Attributes:
        snapshots: The newest of the accounts that are known now.
        refused: By account, why it cannot be had.
        repeated: Rows of ``settlements`` that the owner has had already.
        start_number: Of the owner's start.
    """

    snapshots: SnapshotColumns
    refused: Mapping[int, EvsError] = field(default_factory=dict)
    repeated: tuple[int, ...] = ()
    start_number: int = 0


@dataclass(frozen=True, slots=True)
class LatestRequest:
    """Asks for a page of newest snapshots, of accounts beyond one, once the log is applied up to a place."""

    at_least_position: int = 0
    after_account_id: int = 0


@dataclass(frozen=True, slots=True)
class LatestResponse:
    """Answers ``LatestRequest``: a page, ascending by account, and whether there are more beyond it."""

    snapshots: SnapshotColumns
    start_number: int
    more: bool = False


def latest_page(latest: SnapshotColumns, request: LatestRequest, start_number: int) -> LatestResponse:
    """
    The page that was asked for.

    Args:
        latest: All newest snapshots of the shard, in any order.
    """
    row = latest.account_id.argsort(kind="stable")
    row = row[latest.account_id[row] > request.after_account_id]
    page = row[:NEWS_ROWS_MAX]
    columns = (getattr(latest, name)[page] for name in SnapshotColumns.__dataclass_fields__)
    return LatestResponse(SnapshotColumns(*columns), start_number, more=len(row) > len(page))
