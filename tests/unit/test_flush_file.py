"""A flush as bytes, and back."""

from dataclasses import fields, is_dataclass, replace

import msgspec
import numpy as np
import pytest
from hypothesis import given

from evs_server.model import VALUATION_COLUMNS, Columns, Flush
from evs_server.store import flush_file
from evs_server.store.flush_file import array_bytes, decode, encode
from tests.flushes import a_flush, a_valuation, a_watermark, an_account_row, plain, snapshots
from tests.property.test_merging import flush_sequences

A_PASS = a_flush(1, rows=[a_valuation(3, {1: 10})])


def a_full_flush() -> Flush:
    """A flush with something in every field: also in those that it has gained since this was written."""
    flush = a_flush(
        7,
        accounts=[an_account_row(1)],
        rows=[a_valuation(3, {1: 10, 2: 2**53 - 1}), a_valuation(4, {})],
        watermarks=[a_watermark("bücher", 2, 5, [0, 2**64 - 1])],
        latest=snapshots(a_valuation(4, {1: 10})),
        event_count=9,
    )
    filled = {
        field.name: type(value)(*(np.array([-(2**63), 0, 2**63 - 1]) for _ in fields(value)))
        for field in fields(flush)
        if isinstance(value := getattr(flush, field.name), Columns) and not len(value)
    }
    return replace(flush, **filled)  # type: ignore[arg-type]


def test_a_flush_is_the_same_after_a_round_trip() -> None:
    """With every column, at the ends of its range."""
    flush = a_full_flush()
    assert plain(flush) == plain(decode(encode(flush)))
    assert all(len(value) for field in fields(flush) if isinstance(value := getattr(flush, field.name), Columns))


def test_a_pass_is_written_column_by_column() -> None:
    """As older versions write and read it, whatever it is in memory."""
    file = encode(a_flush(1, rows=[a_valuation(3, {1: 10})]))
    description = msgspec.msgpack.decode(file[12 : 12 + int.from_bytes(file[8:12], "little")])
    [[(name, content)]] = [each.items() for each in description["Flush"]["rows"]]
    assert ("Valuation", [*["version", "tick", "timestamp_ms", "session_roll"], *VALUATION_COLUMNS]) == (
        name, list(content),
    )  # fmt: skip


def test_a_pass_is_read_as_one_view_of_its_file() -> None:
    """Copied, what waits in the spool would be twice as large in memory as it is said to be."""
    [valuation] = decode(encode(a_flush(1, rows=[a_valuation(3, {1: 10, 2: 20})]))).rows
    assert (False, True) == (valuation.columns.flags.owndata, valuation.columns.flags.c_contiguous)


@given(flush_sequences())
def test_any_flush_is_the_same_after_a_round_trip(flushes: list[Flush]) -> None:
    for flush in flushes:
        assert plain(flush) == plain(decode(encode(flush)))


def test_the_size_is_that_of_the_columns() -> None:
    """An account's row is 8 columns of 8 bytes, a row of a pass 10."""
    assert 64 + 2 * 80 == array_bytes(a_flush(1, accounts=[an_account_row(1)], rows=[a_valuation(1, {1: 1, 2: 2})]))


def bytes_of_arrays(value: object) -> int:
    """What all arrays take that can be reached from a value."""
    if isinstance(value, np.ndarray):
        return value.nbytes
    if isinstance(value, tuple):
        return sum(map(bytes_of_arrays, value))
    return sum(bytes_of_arrays(getattr(value, field.name)) for field in fields(value)) if is_dataclass(value) else 0


@given(flush_sequences())
def test_the_size_of_any_flush_is_that_of_all_its_arrays(flushes: list[Flush]) -> None:
    """Also of one with something in every field, whichever it has gained."""
    for flush in (a_full_flush(), *flushes):
        assert bytes_of_arrays(flush) == array_bytes(flush)


def changed_description(file: bytes, change: str, to: str) -> bytes:
    """The same file with a name in its description changed."""
    description = msgspec.msgpack.decode(file[12 : 12 + int.from_bytes(file[8:12], "little")])
    text = msgspec.json.encode(description).replace(f'"{change}"'.encode(), f'"{to}"'.encode())
    again = msgspec.msgpack.encode(msgspec.json.decode(text))
    return file[:8] + len(again).to_bytes(4, "little") + again + bytes(-(12 + len(again)) % 8)


@pytest.mark.parametrize(
    ("file", "said"),
    [
        (b"EVSF", "4 bytes are no flush: its head alone has 12"),
        (b"EVSX" + encode(a_flush(1))[4:], "not a flush: begins with b'EVSX'"),
        (b"EVSF\x63\x00" + encode(a_flush(1))[6:], "a flush of format 99; this version of EVS reads format 1"),
        (encode(a_flush(1))[:40], "cannot be read"),
        (changed_description(encode(a_flush(1)), "dirty", "dusty"), "a AccountColumns with dusty, which this version"),
        (changed_description(encode(a_flush(1)), "event_count", "number2"), "a Flush with number2"),
        (changed_description(encode(a_flush(1)), "EngineMeta", "EngineMood"), "with a EngineMood, which this version"),
        (changed_description(encode(a_flush(1)), "<i8", "<f8"), "cannot be read"),
        (changed_description(encode(A_PASS), "<i8", "<u8"), "columns of a pass of <u8 and 1 rows that do not lie one"),
        (encode(a_flush(1, accounts=[an_account_row(1)]))[:-1], "buffer is smaller"),
    ],
)
def test_what_is_not_a_flush_of_this_version_is_refused_in_words(file: bytes, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        decode(file)


def test_what_a_flush_has_gained_since_may_be_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    """A spool that an older version left behind is read after an upgrade."""
    described = flush_file._described

    def as_before(value: object, arrays: list[bytes], end: list[int]) -> object:
        found = described(value, arrays, end)
        if isinstance(found, dict) and "Flush" in found:
            del found["Flush"]["newcomers"]
        return found

    monkeypatch.setattr(flush_file, "_described", as_before)
    assert plain(a_flush(3)) == plain(decode(encode(a_flush(3))))
