"""
An event of a unary call is a batch of one: taken by itself where that will do, the same becomes of it.

The accounts are those of ``test_batches``, of every kind that the intake treats apart.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evs_server.limits import EXACT_MAX, FEE_CENTS_MAX, PRICE_CENTS_MAX, QUANTITY_BP_MAX, TICK_TIME_MS_MAX
from tests.builders import ALICE, CAROL, NOON_MS
from tests.flushes import plain
from tests.property.test_batches import RUNS, Desk, Row, a_run, seen, stored

Event = tuple[str, Row]

EVENTS = RUNS.flatmap(lambda run: st.sampled_from([(run[0], row) for row in run[1]]))
# What is beyond a bound by little, and by as much as the wire holds.
FAR = st.sampled_from([-(2**63), -1, 0, 2**53, 2**63 - 1])
WRONG_LEGS = st.tuples(
    FAR, st.just(1), st.integers(0, 3), FAR | st.just(QUANTITY_BP_MAX + 1), FAR | st.just(PRICE_CENTS_MAX + 1),
    FAR | st.just(FEE_CENTS_MAX + 1), FAR,
)  # fmt: skip
ONE_WRONG = st.tuples(st.integers(0, 6), WRONG_LEGS).map(
    lambda wrong: (
        "trades",
        tuple(wrong[1][at] if at == wrong[0] else (1, 1, 1, 10_000, 100, 0, 0)[at] for at in range(7)),
    )
)


def is_taken_singly(desk: Desk, kind: str, row: Row) -> bool:
    """Whether an event is taken by itself."""
    singles = desk.intake.singles
    match kind:
        case "trades":
            return singles.take_trade(row, NOON_MS)
        case "prices":
            return singles.take_price(row[0], row[1], NOON_MS)
        case "ticks":
            return singles.take_tick(row[0], 0, NOON_MS) is not None
    return False


def check(events: list[Event]) -> None:
    singly, batched = Desk(), Desk()
    for kind, row in events:
        if not is_taken_singly(singly, kind, row):
            singly.take(a_run(kind, [row]), first=0)
        batched.take(a_run(kind, [row]), first=0)
        assert seen(batched) == seen(singly)
    assert stored(batched) == stored(singly)
    assert plain(batched.flushes) == plain(singly.flushes)


@given(st.lists(EVENTS, max_size=30))
def test_an_event_by_itself_does_what_a_batch_of_it_does(events: list[Event]) -> None:
    """(9) Pass by pass and flush by flush, settlement ids that are repeated included."""
    check(events)


@given(st.lists(EVENTS | ONE_WRONG, max_size=8))
def test_what_is_refused_is_never_taken_by_itself(events: list[Event]) -> None:
    """(13) Whatever is wrong with it; a refused event changes nothing, on either way."""
    check(events)


LEG = (ALICE, 1, 1, 10_000, 100, 0, 0)


def but(place: int, value: int) -> Row:
    return (*LEG[:place], value, *LEG[place + 1 :])


@pytest.mark.parametrize(
    ("kind", "row"),
    [
        *(
            ("trades", but(place, value))
            for place, bound in ((3, QUANTITY_BP_MAX), (4, PRICE_CENTS_MAX))
            for value in (0, bound + 1)
        ),
        *(("trades", but(0, value)) for value in (0, -1, 99, EXACT_MAX + 1)),
        *(("trades", but(2, side)) for side in (0, 3)),
        *(("trades", but(5, value)) for value in (-1, FEE_CENTS_MAX + 1)),
        *(("trades", but(6, value)) for value in (-1, EXACT_MAX + 1)),
        ("trades", but(0, CAROL)),
        *(("prices", (1, value)) for value in (0, -1, PRICE_CENTS_MAX + 1)),
        ("ticks", (EXACT_MAX + 1,)),
    ],
)
def test_what_has_to_be_refused_or_looked_up_is_left_to_the_long_way(kind: str, row: Row) -> None:
    """Carol's trades are yet to be announced: one of them may be in the books already."""
    desk = Desk()
    desk.take(a_run("trades", [LEG]), first=0)
    before = seen(desk)
    assert (False, before) == (is_taken_singly(desk, kind, row), seen(desk))


def test_what_is_plain_takes_the_short_way() -> None:
    """Once its symbol is known; a settlement id that comes again does not."""
    desk = Desk()
    desk.take(a_run("trades", [LEG]), first=0)
    assert [True] * 4 == [
        is_taken_singly(desk, kind, row)
        for kind, row in (("trades", LEG), ("trades", but(6, 7)), ("prices", (1, 101)), ("ticks", (1,)))
    ]
    assert not is_taken_singly(desk, "trades", but(6, 7))
    assert desk.intake.singles.take_tick(2, TICK_TIME_MS_MAX + 1, NOON_MS) is None
