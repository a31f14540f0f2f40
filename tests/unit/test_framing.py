"""Frames as a websocket carries them: the library's bytes, made once."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from evs_server.bridge import frames
from evs_server.bridge.connection import PUSH_BYTES_MAX
from evs_server.bridge.framing import FRAME_BYTES_MAX, Change, text_frame
from evs_server.bridge.values import EquityData, EquityValue
from evs_server.limits import EXACT_MAX
from tests.golden_values import WARNED


@pytest.mark.parametrize("byte_count", [0, 1, 125, 126, 127, 255, 256, 300, PUSH_BYTES_MAX, FRAME_BYTES_MAX])
def test_a_frame_of_text_is_the_one_that_the_library_makes(byte_count: int) -> None:
    payload = b"x" * byte_count
    assert Frame(Opcode.TEXT, payload).serialize(mask=False) == text_frame(payload)


@given(st.binary(max_size=2_000))
def test_whatever_is_in_it(payload: bytes) -> None:
    assert Frame(Opcode.TEXT, payload).serialize(mask=False) == text_frame(payload)


def test_a_payload_that_its_header_could_not_tell_is_refused() -> None:
    with pytest.raises(AssertionError, match="65536 bytes: the bound is 65535"):
        text_frame(bytes(FRAME_BYTES_MAX + 1))


def test_a_change_is_encoded_for_the_first_who_is_sent_it_and_shared() -> None:
    change = Change(WARNED)
    assert b"" == change.frame, "nobody has been sent it"
    assert change.text() is change.text()
    assert text_frame(change.frame) == change.text()
    assert frames.equity(WARNED, snapshot=False, conflated=0) == change.frame


def test_what_evs_has_skipped_is_told_in_the_frame_that_is_shared() -> None:
    change = Change(EquityValue(WARNED.data, 9, False, 3, ()))
    assert 3 == json.loads(change.text()[4:])["conflated"]


def test_the_largest_push_is_within_what_a_socket_is_asked_to_have_room_for() -> None:
    most = -EXACT_MAX
    largest = EquityData(most, most, most, most, most, most, most, -999_999.9999, most, most)
    flags = ("UNPRICED", "STALE_PRICE", "DEGRADED", "NO_BASE", "IDENTITY_VIOLATED")
    change = Change(EquityValue(largest, EXACT_MAX, False, EXACT_MAX, flags))
    assert len(change.text()) <= PUSH_BYTES_MAX
