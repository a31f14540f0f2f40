"""
Whatever is sent, signed or found on disk: an answer in words, or a refusal, and never anything else.

Searched by hypothesis, longer with ``EVS_HYPOTHESIS_PROFILE=thorough``. Of the bridge's JSON see
``tests/unit/test_frames.py`` and ``tests/unit/test_requests.py``.
"""

import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jwt
import numpy as np
import pytest
from evs.v1 import evs_pb2 as pb
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message
from hypothesis import given, settings
from hypothesis import strategies as st

from evs_server.access.guard import Identities
from evs_server.errors import RequestError, Unauthenticated
from evs_server.ingest import codec
from evs_server.model import Batch, Flush
from evs_server.store import flush_file
from evs_server.store.spool import Spool, Spooled
from evs_server.store.spool_segment import Stamp
from evs_server.tokens import ALGORITHM, AUDIENCE, ISSUER, TokenVerifier
from tests.flushes import a_flush, a_valuation
from tests.security.secured import KEY

STAMP = Stamp("a database", 3)
ROOM = 2**20

FEWER = settings(max_examples=settings().max_examples // 4)
"""For what takes long each time."""

Decode = Callable[[Any], Batch]

# --- messages ----------------------------------------------------------------------------------------------------

_BITS = {
    FieldDescriptor.TYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.TYPE_UINT64: (0, 2**64 - 1),
    FieldDescriptor.TYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.TYPE_ENUM: (-(2**31), 2**31 - 1),
}


def numbers(least: int, most: int) -> st.SearchStrategy[int]:
    """Ordinary numbers, bounds, and whatever else there is room for."""
    usual = st.integers(max(least, -3), 10_000_000)
    edges = st.sampled_from([edge for bits in (53, 63) for edge in (2**bits - 1, 2**bits, -(2**bits))])
    return usual | edges.filter(lambda number: least <= number <= most) | st.integers(least, most)


def values_of(field: Any) -> st.SearchStrategy[Any]:
    """Values that a field can hold on the wire."""
    if field.message_type is not None:
        return st.deferred(lambda: messages(field.message_type._concrete_class))
    if field.type == FieldDescriptor.TYPE_STRING:
        return st.text(max_size=8) | st.sampled_from(["", "x" * 64, "x" * 65, "x" * 256, "x" * 257])
    if field.type == FieldDescriptor.TYPE_BOOL:
        return st.booleans()
    if field.type == FieldDescriptor.TYPE_ENUM:
        return st.integers(-1, 4) | numbers(*_BITS[field.type])
    return numbers(*_BITS[field.type])


@st.composite
def messages(draw: st.DrawFn, kind: type[Message]) -> Message:
    """Messages of a kind, with any of its fields set to anything."""
    message = kind()
    # Columns of one length get past the first check.
    length = draw(st.integers(0, 4))
    for field in kind.DESCRIPTOR.fields:
        if not draw(st.sampled_from([True, True, True, False])):
            continue
        if field.is_repeated:
            size = draw(st.sampled_from([length, length, length, length + 1]))
            getattr(message, field.name).extend(draw(st.lists(values_of(field), min_size=size, max_size=size)))
        elif field.message_type is not None:
            getattr(message, field.name).CopyFrom(draw(values_of(field)))
        else:
            setattr(message, field.name, draw(values_of(field)))
    return message


DECODERS: list[tuple[type[Message], Decode]] = [
    (pb.OnTradeSettledRequest, codec.decode_trade),
    (pb.OnPriceUpdatedRequest, codec.decode_price),
    (pb.OnCashAdjustedRequest, codec.decode_cash),
    (pb.OnTickCompleteRequest, codec.decode_tick),
    (pb.StreamEventsRequest, codec.decode_batch),
]


def decoded(decode: Decode, message: Message) -> Batch | None:
    """What a message becomes; None if it is refused."""
    try:
        return decode(message)
    except RequestError:
        return None


@pytest.mark.parametrize(("kind", "decode"), DECODERS, ids=lambda each: getattr(each, "__name__", ""))
@given(data=st.data())
def test_whatever_a_sender_says_is_taken_or_refused(kind: type[Message], decode: Decode, data: st.DataObject) -> None:
    message = data.draw(messages(kind))
    batch = decoded(decode, message)
    if batch is not None:
        assert all(0 <= index < len(batch) for index in batch.refusals)
        again = decoded(decode, kind.FromString(message.SerializeToString()))
        assert again is not None
        assert np.array_equal(batch.digest, again.digest)


@pytest.mark.parametrize(("kind", "decode"), DECODERS, ids=lambda each: getattr(each, "__name__", ""))
@FEWER
@given(data=st.data())
def test_bytes_that_were_damaged_on_the_way_are_taken_or_refused(
    kind: type[Message], decode: Decode, data: st.DataObject
) -> None:
    wire = bytearray(data.draw(messages(kind)).SerializeToString() + data.draw(st.binary(max_size=20)))
    if wire:
        for place, value in data.draw(st.lists(st.tuples(st.integers(0, len(wire) - 1), st.integers(0, 255)))):
            wire[place] = value
    with contextlib.suppress(DecodeError):  # what the library refuses, the caller is told by the guard
        decoded(decode, kind.FromString(bytes(wire)))


# --- tokens ------------------------------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
NOW = int(time.time())
GOOD = {"iss": ISSUER, "aud": AUDIENCE, "sub": "7", "iat": NOW, "exp": NOW + 3_600, "scope": "read:own"}


def identified(verifier: TokenVerifier, token: str) -> bool:
    """Whether a token is good; anything but yes and no is a bug."""
    try:
        caller = verifier.caller(token)
    except Unauthenticated:
        return False
    assert caller.valid_ms is not None
    assert caller.account_id is None or caller.account_id > 0
    return True


@given(st.dictionaries(st.sampled_from([*GOOD, "nbf"]), JSON), st.booleans())
def test_whatever_a_token_claims_is_good_or_not(changes: dict[str, Any], all_of_it: bool) -> None:
    """Even if it is signed with the right key."""
    claims = changes if all_of_it else GOOD | changes
    # The library refuses to sign some of it; whoever forges does not use the library.
    token = jwt.PyJWS().encode(jwt.PyJWT()._encode_payload(claims), KEY, ALGORITHM)
    assert identified(TokenVerifier(KEY), token) or claims != GOOD


@given(st.lists(st.tuples(st.sampled_from(["authorization", "x-other"]), st.text() | st.just("Bearer a.b.c"))))
def test_whatever_metadata_says_is_nobody_or_refused(metadata: list[tuple[str, str]]) -> None:
    class Context:
        def peer(self) -> str:
            return "ipv4:127.0.0.1:1"

        def peer_identities(self) -> None:
            return None

        def invocation_metadata(self) -> list[tuple[str, str]]:
            return metadata

    identities = Identities(TokenVerifier(KEY), {}, frozenset())
    says_who = any(name == "authorization" for name, _ in metadata)
    try:
        assert identities.caller(Context()) is None
        assert not says_who
    except Unauthenticated:
        assert says_who


# --- files -------------------------------------------------------------------------------------------------------


@given(st.binary(max_size=300), st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=8))
def test_whatever_a_flush_file_holds_is_a_flush_or_refused(content: bytes, damage: list[tuple[int, int]]) -> None:
    good = bytearray(flush_file.encode(a_flush(5, rows=[a_valuation(5, {1: 1})])))
    for place, value in damage:
        good[place % len(good)] = value
    for file in (content, bytes(good[:12]) + content, bytes(good)):
        with contextlib.suppress(ValueError):
            assert isinstance(flush_file.decode(file), Flush)


@FEWER
@given(content=st.binary(max_size=400), keeps_record=st.booleans())
def test_whatever_lies_in_the_spool_it_opens_and_goes_on(content: bytes, keeps_record: bool) -> None:
    """What cannot be read is cut or set aside; what comes after is written, and read again."""
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory) / "spool"
        with opened(folder) as spool:
            spool.append([Spooled(1, a_flush(1))])
        [file] = folder.glob("*.spool")
        file.write_bytes((file.read_bytes() if keeps_record else b"") + content)
        with opened(folder) as spool:
            kept = [each.flush.number for each in spool.read(ROOM)]
            # No random bytes have the checksum of a record.
            assert ([1] if keeps_record else []) == kept
            spool.append([Spooled(2, a_flush(2))])
        with opened(folder) as spool:
            assert [*kept, 2] == [each.flush.number for each in spool.read(ROOM)]


@contextlib.contextmanager
def opened(folder: Path) -> Iterator[Spool]:
    """The spool in a folder, as the next process opens it."""
    spool = Spool.open(folder, ROOM)
    try:
        spool.begin(STAMP)
        yield spool
    finally:
        spool.close()
