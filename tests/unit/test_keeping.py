"""Which snapshots of a pass are stored, by policy."""

from collections.abc import Sequence

import numpy as np
import pytest

from evs_server.ingest.keeping import Interval, Keeping, OnTrade, Policy, keeping
from evs_server.model import Int64Array, Snapshot, Valuation
from evs_server.store.memory import snapshot_columns
from tests.builders import ALICE, BOB, CAROL, snapshots

MINUTE_MS = 60_000
START_MS = 1_000 * MINUTE_MS
CASH_CENTS, WORTH_CENTS = 500_000, 400_000
SPARING = pytest.mark.parametrize("policy", ["on_trade", "interval"])


def a_pass(
    version: int, worth_cents: dict[int, int], changed: str = "", *, at_ms: int = 0, roll: bool = False
) -> Valuation:
    """Accounts with positions worth so much, at a time after the start; one other number is a cent more than it was."""
    account_id = np.array(list(worth_cents), np.int64)
    worth = np.array(list(worth_cents.values()), np.int64)

    def column(cents: int, name: str) -> Int64Array:
        return np.full(len(account_id), cents + (name == changed), np.int64)

    cash, net_flow = column(CASH_CENTS, "cash"), column(1_000_000, "net_flow")
    equity = cash + worth
    base = column(0, "base")
    columns = (
        account_id, equity, cash, worth, equity - net_flow - base, column(0, "percent"), worth, column(0, "realized"),
        net_flow, column(0, "flags"),
    )  # fmt: skip
    return Valuation(version, version, START_MS + at_ms, np.array(columns), session_roll=roll)


def stored(kept: Sequence[Valuation]) -> list[tuple[int, int]]:
    """Version and account of what is stored, in order."""
    return [(each.version, each.account_id) for each in snapshots(kept)]


def newest(made: Valuation, account_id: int) -> Snapshot:
    [found] = [each for each in snapshots([made]) if each.account_id == account_id]
    return found


def begun(kept: Keeping, *account_ids: int) -> Keeping:
    """A policy that has seen these accounts' first snapshots, version 1."""
    first = kept.keep(a_pass(1, dict.fromkeys(account_ids, WORTH_CENTS)))
    assert [(1, account_id) for account_id in account_ids] == stored(first), "an account's first is always stored"
    return kept


def test_a_policy_is_had_by_its_name() -> None:
    made = [keeping(policy, 60) for policy in ("every_tick", "on_trade", "interval")]
    assert [(Keeping, True), (OnTrade, False), (Interval, False)] == [(type(each), each.is_whole) for each in made]


def test_every_tick_stores_each_pass_as_it_is() -> None:
    made = a_pass(2, {ALICE: 7})
    [kept] = Keeping().keep(made)
    assert made is kept


@SPARING
def test_a_price_alone_is_not_stored(policy: Policy) -> None:
    kept = begun(keeping(policy, 60), ALICE, BOB)
    assert [] == stored(kept.keep(a_pass(2, {ALICE: 410_000, BOB: 1})))


@SPARING
@pytest.mark.parametrize("changed", ["cash", "net_flow", "realized", "base"])
def test_what_recovery_cannot_work_out_again_is_stored(policy: Policy, changed: str) -> None:
    kept = begun(keeping(policy, 60), ALICE, BOB)
    assert [(2, ALICE)] == stored(kept.keep(a_pass(2, {ALICE: WORTH_CENTS}, changed)))
    assert [] == stored(kept.keep(a_pass(3, {ALICE: 5}, changed))), "it is as it was in the snapshot before"
    assert [(4, ALICE)] == stored(kept.keep(a_pass(4, {ALICE: 5}))), "it is what it was once, but not before"


@pytest.mark.parametrize("changed", ["percent", "flags"])
def test_what_follows_from_the_rest_is_no_reason_to_store(changed: str) -> None:
    kept = begun(OnTrade(), ALICE)
    assert [] == stored(kept.keep(a_pass(2, {ALICE: WORTH_CENTS}, changed)))


def test_only_those_of_a_pass_are_stored_that_have_a_reason() -> None:
    kept = begun(OnTrade(), ALICE, BOB)
    [part] = kept.keep(a_pass(2, {ALICE: 1, CAROL: 2, BOB: 3}))
    assert newest(a_pass(2, {CAROL: 2}), CAROL) == part.snapshot(0)
    assert [(2, CAROL)] == stored([part])


@SPARING
def test_a_session_s_roll_is_stored_whole(policy: Policy) -> None:
    kept = begun(keeping(policy, 60), ALICE, BOB)
    roll = a_pass(2, {ALICE: WORTH_CENTS, BOB: WORTH_CENTS}, roll=True)
    [whole] = kept.keep(roll)
    assert roll is whole


@SPARING
def test_the_last_snapshot_of_a_session_is_stored_when_it_is_over(policy: Policy) -> None:
    """In the middle of an interval, too: it is what a bar of a day ends with."""
    kept = begun(keeping(policy, 60), ALICE, BOB)
    kept.keep(a_pass(2, {ALICE: 20, BOB: 20}))
    kept.keep(a_pass(3, {ALICE: 30}))
    roll = a_pass(4, {ALICE: 30, BOB: 20}, roll=True)
    assert [(2, BOB), (3, ALICE), (4, ALICE), (4, BOB)] == stored(kept.keep(roll))
    assert 4 == kept.stored_with(newest(roll, BOB))
    assert [(6, ALICE), (6, BOB)] == stored(kept.keep(a_pass(6, {ALICE: 30, BOB: 20}, roll=True)))


@SPARING
def test_after_a_start_reasons_count_from_what_was_found(policy: Policy) -> None:
    kept = keeping(policy, 60)
    kept.restore(snapshot_columns(a_pass(1, {ALICE: WORTH_CENTS, BOB: WORTH_CENTS})))
    assert [] == stored(kept.keep(a_pass(2, {ALICE: 1, BOB: 1})))
    assert [(3, BOB)] == stored(kept.keep(a_pass(3, {BOB: 1}, "cash")))


def test_more_accounts_than_there_was_room_for_are_told_apart() -> None:
    kept = Interval(60)
    many = range(1, 1_001)
    for first in (1, 500):
        kept.keep(a_pass(first, dict.fromkeys(many[first - 1 : first + 500], WORTH_CENTS)))
    assert [] == stored(kept.keep(a_pass(501, dict.fromkeys(many, 1))))
    late = kept.keep(a_pass(502, {2_000: 1}, at_ms=MINUTE_MS))
    assert [*((501, account_id) for account_id in many), (502, 2_000)] == stored(late)


def test_the_last_snapshot_of_an_interval_is_stored_when_it_is_over() -> None:
    """With its own version, tick and time, and before anything newer."""
    kept = begun(Interval(60), ALICE, BOB)
    kept.keep(a_pass(2, {ALICE: 20, BOB: 20}, at_ms=20_000))
    kept.keep(a_pass(3, {ALICE: 50}, at_ms=50_000))
    passes = kept.keep(a_pass(4, {BOB: 65}, "cash", at_ms=65_000))
    assert [(2, BOB), (3, ALICE), (4, BOB)] == stored(passes)
    assert newest(a_pass(2, {BOB: 20}, at_ms=20_000), BOB) == passes[0].snapshot(0)
    assert newest(a_pass(3, {ALICE: 50}, at_ms=50_000), ALICE) == passes[1].snapshot(0)
    assert [] == stored(kept.keep(a_pass(5, {ALICE: 130}, at_ms=130_000))), "it was held back no longer"


def test_nothing_is_held_back_behind_what_is_stored_of_the_same_interval() -> None:
    kept = begun(Interval(60), ALICE, BOB)
    kept.keep(a_pass(2, {ALICE: 1, BOB: 1}, at_ms=20_000))
    kept.keep(a_pass(3, {ALICE: 2}, "cash", at_ms=30_000))
    assert [(2, BOB)] == stored(kept.keep(a_pass(4, {ALICE: 2}, "cash", at_ms=MINUTE_MS)))


def test_an_interval_is_over_when_time_goes_back_too() -> None:
    """A replay of years ago must not wait until the time is what it was."""
    kept = begun(Interval(60), ALICE)
    kept.keep(a_pass(2, {ALICE: 1}, at_ms=20_000))
    assert [(2, ALICE)] == stored(kept.keep(a_pass(3, {ALICE: 2}, at_ms=-1)))


def test_a_newest_snapshot_is_stored_with_the_pass_that_stores_it() -> None:
    """Before that no commit makes it so; what a start has found may be of a checkpoint, and never stored."""
    every, kept = Keeping(), begun(Interval(60), ALICE, BOB)
    second = a_pass(2, {ALICE: 1}, at_ms=20_000)
    kept.keep(second)
    assert (2, None, 1) == (
        every.stored_with(newest(second, ALICE)),
        kept.stored_with(newest(second, ALICE)),
        kept.stored_with(newest(a_pass(1, {BOB: WORTH_CENTS}), BOB)),
    )
    third = a_pass(3, {BOB: 1}, at_ms=MINUTE_MS)
    kept.keep(third)
    assert (3, None) == (kept.stored_with(newest(second, ALICE)), kept.stored_with(newest(third, BOB)))
    started = OnTrade()
    started.restore(snapshot_columns(second))
    assert started.stored_with(newest(second, ALICE)) is None
