"""Who may come in and how much is held for them: shares that are given, and given back."""

from dataclasses import replace

import pytest

from evs_server.bridge.admission import Admission
from evs_server.bridge.policy import Policy

POLICY = Policy()


def test_an_address_gets_its_share_and_gets_it_back() -> None:
    admission = Admission(replace(POLICY, connections_per_address=2, connections_max=3))
    assert [True, True, False] == [admission.enter("a") for _ in range(3)]
    assert "2 connections from a are open: the bound is 2" == admission.refusal("a")
    assert [True, False] == [admission.enter("b") for _ in range(2)]
    assert "3 connections are open: the bound is 3" == admission.refusal("c")
    admission.leave("a")
    assert admission.enter("a")
    for address in ("a", "a", "b"):
        admission.leave(address)
    assert admission.connection_count == 0


def test_an_account_gets_its_share_and_gets_it_back() -> None:
    admission = Admission(replace(POLICY, connections_per_account=2))
    assert [True, True, False] == [admission.join(7) for _ in range(3)]
    assert admission.join(8)
    admission.part(7)
    assert [True, False] == [admission.join(7) for _ in range(2)]


def test_large_answers_get_their_room_and_give_it_back() -> None:
    admission = Admission(replace(POLICY, answer_bytes_max=100))
    assert [True, False, True] == [admission.reserve(byte_count) for byte_count in (60, 41, 40)]
    admission.release(60)
    assert admission.reserve(60)
    admission.release(100)
    assert 0 == admission.answer_bytes
    with pytest.raises(AssertionError, match="released more than was reserved"):
        admission.release(1)


def test_leaving_without_having_entered_is_a_bug() -> None:
    with pytest.raises(AssertionError, match="without having entered"):
        Admission(POLICY).leave("a")
