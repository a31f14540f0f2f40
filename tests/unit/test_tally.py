"""What became of events, counted: every event of a batch counts once, under its kind."""

import pytest

from evs_server.errors import OutOfBounds, Overloaded, SequenceGap
from evs_server.ingest.intake import Outcome
from evs_server.ingest.tally import Tally
from evs_server.model import Batch
from tests.builders import ALICE, KICK
from tests.wire import BUY, a_batch, cash, prices, ticks, trades

LEG = (ALICE, KICK, BUY, 10_000, 500)


def a_mixed_batch(first: int = 1) -> Batch:
    """Two trades, two prices, a flow, a tick."""
    return a_batch(trades(LEG, LEG), prices((KICK, 1), (KICK, 2)), cash((ALICE, 5)), ticks(1), first=first)


def counted(batch: Batch, outcome: Outcome) -> dict[tuple[str, str], int]:
    """What is not zero after one batch."""
    tally = Tally()
    tally.count(batch, outcome)
    return {key: count for key, count in tally.events.items() if count}


NO_SUCH = OutOfBounds("price_cents", "too much")


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (
            Outcome(end=6),
            {("trade", "applied"): 2, ("price", "applied"): 2, ("cash", "applied"): 1, ("tick", "applied"): 1},
        ),
        (
            Outcome(3, end=6),
            {
                ("trade", "duplicate"): 2,
                ("price", "duplicate"): 1,
                ("price", "applied"): 1,
                ("cash", "applied"): 1,
                ("tick", "applied"): 1,
            },
        ),
        (
            Outcome(end=6, refusals={1: NO_SUCH, 3: NO_SUCH}),
            {
                ("trade", "applied"): 1,
                ("trade", "refused"): 1,
                ("price", "applied"): 1,
                ("price", "refused"): 1,
                ("cash", "applied"): 1,
                ("tick", "applied"): 1,
            },
        ),
        (
            Outcome(1, end=3, error=Overloaded("full")),
            {
                ("trade", "duplicate"): 1,
                ("trade", "applied"): 1,
                ("price", "applied"): 1,
                ("price", "not_taken"): 1,
                ("cash", "not_taken"): 1,
                ("tick", "not_taken"): 1,
            },
        ),
        (
            Outcome(error=SequenceGap("a gap")),
            {
                ("trade", "not_taken"): 2,
                ("price", "not_taken"): 2,
                ("cash", "not_taken"): 1,
                ("tick", "not_taken"): 1,
            },
        ),
    ],
    ids=["applied", "repeated in part", "refused in part", "ended early", "a gap"],
)
def test_every_event_counts_once_under_what_became_of_it(
    outcome: Outcome, expected: dict[tuple[str, str], int]
) -> None:
    assert expected == counted(a_mixed_batch(), outcome)


def test_a_retry_that_was_known_by_its_settlement_counts_as_a_repeated_trade() -> None:
    """Of senders that do not number their events only trades can be told to be repeats."""
    outcome = Outcome(1, end=6)
    expected = {
        ("trade", "duplicate"): 1,
        ("trade", "applied"): 1,
        ("price", "applied"): 2,
        ("cash", "applied"): 1,
        ("tick", "applied"): 1,
    }
    assert expected == counted(a_mixed_batch(first=0), outcome)


def test_refusals_are_counted_by_reason() -> None:
    tally = Tally()
    tally.count(a_mixed_batch(), Outcome(end=2, refusals={0: NO_SUCH}, error=Overloaded("full")))
    tally.count_untaken(a_mixed_batch(), Overloaded("full"))
    assert {"OUT_OF_BOUNDS": 1, "OVERLOADED": 2} == {reason: n for reason, n in tally.refusals.items() if n}
    assert 2 == tally.events["trade", "not_taken"]
