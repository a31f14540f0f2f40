"""
Parts, journal entries, news and answers as bytes, and back. Pure.

The messages are those of ``evs.cluster.v1``. What is decoded here was checked by a gateway and encoded by this module:
nothing is checked again. Only one thing is: that nothing is passed over which a newer version has put in.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from evs.cluster.v1 import cluster_pb2 as pb

from evs_server.cluster import subjects
from evs_server.cluster.news import (
    EnsureRequest,
    EnsureResponse,
    LatestRequest,
    LatestResponse,
    News,
    Pass,
    ShardRefusal,
)
from evs_server.cluster.parts import JournalEntry, Part, PartRun, Parts
from evs_server.cluster.ports import Message
from evs_server.cluster.statuses import decode_error, encode_error
from evs_server.errors import LogGap
from evs_server.model import (
    VALUATION_COLUMNS,
    CashRun,
    ObservedRun,
    PriceRun,
    Run,
    SettlementColumns,
    SnapshotColumns,
    TickRun,
    TradeRun,
    Valuation,
)

_DIGEST: Final = np.dtype("<u8")


class _Form(NamedTuple):
    """
    How runs of one kind are written.

    Attributes:
        field: That of ``PartRun``.
        columns: By their names here, their names there.
        optional: Those of them that are left out where all are 0, or empty.
        texts: Those of them that are texts.
    """

    kind: type[Run]
    field: str
    columns: Mapping[str, str]
    optional: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()


_TRADE = ("account_id", "symbol_id", "side", "quantity_bp", "price_cents", "fee_cents", "settlement_id")
_PRICE = ("symbol_id", "price_cents")


def _same(names: Sequence[str]) -> dict[str, str]:
    return dict(zip(names, names, strict=True))


_FORMS: Final = (
    _Form(TradeRun, "trades", _same(_TRADE), optional=("fee_cents", "settlement_id")),
    _Form(PriceRun, "prices", _same(_PRICE)),
    _Form(CashRun, "cash", _same(("account_id", "amount_cents", "reason")), ("reason",), texts=("reason",)),
    _Form(TickRun, "ticks", {"tick": "tick_id", "tick_time_ms": "tick_time"}, optional=("tick_time_ms",)),
    _Form(ObservedRun, "observed", _same(_PRICE)),
)
_FORM_OF: Final = {form.kind: form for form in _FORMS}
_FORM_NAMED: Final = {form.field: form for form in _FORMS}

_SNAPSHOT: Final = tuple(SnapshotColumns.__dataclass_fields__)


# --- the log ------------------------------------------------------------------------------------------------------


def encode_part(part: Part) -> bytes:
    """A part as it stands in the log."""
    return pb.Part(
        taken_ms=part.taken_ms,
        source=part.source,
        epoch=part.epoch,
        first_sequence=part.first_sequence,
        batch_id=part.batch_id,
        shared_follows=part.shared_follows,
        runs=map(_encode_run, part.runs),
    ).SerializeToString()


def decode_part(binary: bytes) -> Part:
    """
    A part from the log.

    Raises:
        LogGap: If it holds events of a kind that only a newer version knows.
    """
    message = pb.Part.FromString(binary)
    return Part(
        message.taken_ms,
        message.source,
        message.epoch,
        message.first_sequence,
        message.batch_id,
        tuple(map(_decode_run, message.runs)),
        message.shared_follows,
    )


def encode_batch(parts: Parts) -> tuple[list[Message], Message]:
    """A whole batch as it is put into the log: its parts, in order, and its journal entry."""
    entry = parts.journal
    own = {shard: encode_part(part) for shard, part in parts.of_shard.items()}
    shared = encode_part(parts.shared) if parts.shared is not None else None
    subject = subjects.of_source(entry.source, carried=entry.carried)
    if entry.carried:
        carried = [pb.CarriedPart(shard=shard, part=part) for shard, part in own.items()]
        if shared is not None:
            carried.append(pb.CarriedPart(shared=True, part=shared))
        return [], Message(subject, encode_journal(entry, carried))
    messages = [Message(subjects.of_shard(shard), part) for shard, part in own.items()]
    if shared is not None:
        messages.append(Message(subjects.SHARED, shared))
    return messages, Message(subject, encode_journal(entry))


def encode_journal(entry: JournalEntry, carried: Sequence[pb.CarriedPart] = ()) -> bytes:
    """A journal entry as it stands in the log."""
    return pb.JournalEntry(
        source=entry.source,
        epoch=entry.epoch,
        first_sequence=entry.first_sequence,
        digests=entry.digest.astype(_DIGEST, copy=False).tobytes(),
        batch_id=entry.batch_id,
        touched_shards=entry.touched_shards,
        shared=entry.shared,
        carried=carried,
    ).SerializeToString()


def decode_carried(binary: bytes, shard: int) -> tuple[Part | None, Part | None]:
    """Of the parts that a journal entry carries, one shard's own, and the one for all."""
    own = shared = None
    for carried in pb.JournalEntry.FromString(binary).carried:
        if carried.shared:
            shared = decode_part(carried.part)
        elif carried.shard == shard:
            own = decode_part(carried.part)
    return own, shared


def decode_journal(binary: bytes) -> JournalEntry:
    """A journal entry from the log."""
    message = pb.JournalEntry.FromString(binary)
    return JournalEntry(
        message.source,
        message.epoch,
        message.first_sequence,
        np.frombuffer(message.digests, _DIGEST).astype(np.uint64, copy=False),
        message.batch_id,
        message.touched_shards,
        message.shared,
        bool(message.carried),
    )


def _encode_run(part: PartRun) -> pb.PartRun:
    form = _FORM_OF[type(part.run)]
    message = pb.PartRun(index=part.index.tolist())
    columns = getattr(message, form.field)
    columns.SetInParent()
    for ours, theirs in form.columns.items():
        column = getattr(part.run, ours)
        is_told = any(column) if ours in form.texts else ours not in form.optional or column.any()
        if is_told:
            getattr(columns, theirs).extend(column if ours in form.texts else column.tolist())
    return message


def _decode_run(message: pb.PartRun) -> PartRun:
    name = message.WhichOneof("events")
    if name is None:
        raise LogGap("the log holds events of a kind that this version does not know: run the one that wrote them")
    form, columns = _FORM_NAMED[name], getattr(message, name)
    count = len(message.index)
    decoded: list[Any] = []
    for ours, theirs in form.columns.items():
        field = getattr(columns, theirs)
        if ours in form.texts:
            decoded.append(tuple(field) or ("",) * count)
        else:
            decoded.append(np.array(field, np.int64) if len(field) else np.zeros(count, np.int64))
    return PartRun(np.array(message.index, np.int64), form.kind(*decoded))


# --- news ---------------------------------------------------------------------------------------------------------


def encode_news(news: News) -> bytes:
    """What a shard tells."""
    return pb.News(
        shard=news.shard,
        start_number=news.start_number,
        number=news.number,
        owner=news.owner,
        applied_position=news.applied_position,
        committed_position=news.committed_position,
        applied_ms=news.applied_ms,
        passes=map(_encode_pass, news.passes),
        refusals=[
            pb.ShardRefusal(batch_id=each.batch_id, index=each.index, status=encode_error(each.error))
            for each in news.refusals
        ],
        account_count=news.account_count,
        degraded_since_ms=news.degraded_since_ms or 0,
        session_start_ms=news.session_start_ms,
    ).SerializeToString()


def decode_news(binary: bytes) -> News:
    """What a shard has told."""
    message = pb.News.FromString(binary)
    return News(
        message.shard,
        message.start_number,
        message.number,
        message.owner,
        message.applied_position,
        message.committed_position,
        message.applied_ms,
        tuple(map(_decode_pass, message.passes)),
        tuple(ShardRefusal(each.batch_id, each.index, decode_error(each.status)) for each in message.refusals),
        message.account_count,
        message.degraded_since_ms or None,
        message.session_start_ms,
    )


def _encode_pass(made: Pass) -> pb.Pass:
    valuation = made.valuation
    return pb.Pass(
        batch_id=made.batch_id,
        version=valuation.version,
        tick=valuation.tick,
        timestamp_ms=valuation.timestamp_ms,
        session_roll=valuation.session_roll,
        **dict(zip(VALUATION_COLUMNS, valuation.columns.tolist(), strict=True)),
    )


def _decode_pass(message: pb.Pass) -> Pass:
    columns = np.array([getattr(message, name) for name in VALUATION_COLUMNS], np.int64)
    valuation = Valuation(message.version, message.tick, message.timestamp_ms, columns, message.session_roll)
    return Pass(message.batch_id, valuation)


# --- answers ------------------------------------------------------------------------------------------------------


def encode_ensure_request(request: EnsureRequest) -> bytes:
    """A question after accounts and settlements."""
    return pb.EnsureRequest(
        account_ids=request.account_id.tolist(),
        settled_account_id=request.settlements.account_id.tolist(),
        settled_side=request.settlements.side.tolist(),
        settlement_id=request.settlements.settlement_id.tolist(),
        at_least_position=request.at_least_position,
    ).SerializeToString()


def decode_ensure_request(binary: bytes) -> EnsureRequest:
    """The same, as the owner sees it."""
    message = pb.EnsureRequest.FromString(binary)
    settlements = SettlementColumns(
        *(
            np.array(each, np.int64)
            for each in (message.settled_account_id, message.settled_side, message.settlement_id)
        )
    )
    return EnsureRequest(np.array(message.account_ids, np.int64), settlements, message.at_least_position)


def encode_ensure_response(response: EnsureResponse) -> bytes:
    """The answer to it."""
    return pb.EnsureResponse(
        snapshots=encode_snapshots(response.snapshots),
        refused=[
            pb.RefusedAccount(account_id=account_id, status=encode_error(error))
            for account_id, error in response.refused.items()
        ],
        repeated_settlements=response.repeated,
        start_number=response.start_number,
    ).SerializeToString()


def decode_ensure_response(binary: bytes) -> EnsureResponse:
    """The same, as the gateway sees it."""
    message = pb.EnsureResponse.FromString(binary)
    return EnsureResponse(
        decode_snapshots(message.snapshots),
        {each.account_id: decode_error(each.status) for each in message.refused},
        tuple(message.repeated_settlements),
        message.start_number,
    )


def encode_latest_request(request: LatestRequest) -> bytes:
    """A question after a page of newest snapshots."""
    return pb.LatestRequest(
        at_least_position=request.at_least_position, after_account_id=request.after_account_id
    ).SerializeToString()


def decode_latest_request(binary: bytes) -> LatestRequest:
    """The same, as the owner sees it."""
    message = pb.LatestRequest.FromString(binary)
    return LatestRequest(message.at_least_position, message.after_account_id)


def encode_latest_response(response: LatestResponse) -> bytes:
    """The answer to it."""
    return pb.LatestResponse(
        snapshots=encode_snapshots(response.snapshots), start_number=response.start_number, more=response.more
    ).SerializeToString()


def decode_latest_response(binary: bytes) -> LatestResponse:
    """The same, as the gateway sees it."""
    message = pb.LatestResponse.FromString(binary)
    return LatestResponse(decode_snapshots(message.snapshots), message.start_number, message.more)


def encode_snapshots(snapshots: SnapshotColumns) -> pb.Snapshots:
    """Snapshots as a message, also of a single account, as it is kept for when nobody owns its shard."""
    return pb.Snapshots(**{name: getattr(snapshots, name).tolist() for name in _SNAPSHOT})


def decode_snapshots(message: pb.Snapshots) -> SnapshotColumns:
    """Snapshots from a message."""
    return SnapshotColumns(*(np.array(getattr(message, name), np.int64) for name in _SNAPSHOT))
