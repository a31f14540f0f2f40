"""When a difference counts: two looks, a grace period apart, that saw the same, with all sent before stored."""

from evs_server.limits import DIFFERENCES_KEPT
from evs_server.model import Holding, Holdings, Ledger
from evs_server.reconcile.compare import Difference, Field, differences
from evs_server.reconcile.watch import Look, Watch, Watermarks
from tests.builders import ALICE, KICK, NOON_MS, PUNT

GRACE_SECONDS = 30.0
OURS = Holdings(ALICE, 1_000, 1_000, 0, {})


def theirs(cash_cents: int) -> Ledger:
    return Ledger(ALICE, cash_cents, {})


def look(
    at_seconds: float, cash_cents: int = 1_500, *, ours: Holdings = OURS, watermarks: Watermarks | None = None
) -> Look:
    return Look(ours, theirs(cash_cents), watermarks or {}, at_seconds, NOON_MS + int(at_seconds) * 1_000)


def watched(*looks: Look) -> Watch:
    watch = Watch(GRACE_SECONDS)
    for each in looks:
        watch.see(ALICE, each)
    return watch


def test_cash_and_quantities_are_compared_and_nothing_else() -> None:
    """Cost and profit may differ and both be right; a closed position is as good as none."""
    ours = Holdings(ALICE, 7, 1, 2, {KICK: Holding(0, 0, 5), PUNT: Holding(10, 3, 0)})
    ledger = Ledger(ALICE, 8, {PUNT: 11, 13: -1})
    assert (
        Difference(Field.CASH, 0, 7, 8),
        Difference(Field.QUANTITY, PUNT, 10, 11),
        Difference(Field.QUANTITY, 13, 0, -1),
    ) == differences(ours, ledger)
    assert () == differences(ours, Ledger(ALICE, 7, {PUNT: 10}))
    assert (Difference(Field.ACCOUNT, 0, 1, 0),) == differences(ours, None)


def test_one_look_proves_nothing() -> None:
    assert {} == watched(look(0)).stood()
    assert {ALICE: GRACE_SECONDS} == watched(look(0)).undecided()


def test_a_difference_that_stood_counts_from_when_it_was_first_seen() -> None:
    watch = watched(look(0), look(GRACE_SECONDS))
    assert [ALICE] == list(watch.stood())
    assert NOON_MS == watch.stood()[ALICE].first.at_ms
    assert {} == watch.undecided()


def test_two_looks_that_lie_too_close_prove_nothing() -> None:
    assert {} == watched(look(0), look(GRACE_SECONDS - 1)).stood()


def test_a_difference_that_changed_begins_anew() -> None:
    """The tables moved, or we did: somebody is at work."""
    assert {} == watched(look(0), look(GRACE_SECONDS, cash_cents=1_600)).stood()
    moved = Holdings(ALICE, 1_000, 1_000, 0, {KICK: Holding(0, 0, 0)})
    assert {} == watched(look(0), look(GRACE_SECONDS, ours=moved)).stood()


def test_a_difference_that_is_gone_is_forgotten() -> None:
    assert {} == watched(look(0), look(1, cash_cents=1_000)).undecided()


def test_a_busy_account_begins_anew() -> None:
    watch = watched(look(0))
    watch.forget(ALICE)
    watch.see(ALICE, look(GRACE_SECONDS))
    assert {} == watch.stood()


def test_a_difference_does_not_count_while_a_sender_is_behind() -> None:
    """What was applied at the first look must be stored at the second; a new epoch says that it is."""
    before = {"em": (1, 10, 5)}
    first = look(0, watermarks=before)
    for now, stands in [((1, 12, 9), False), ((1, 12, 10), True), ((2, 3, 0), True)]:
        watch = watched(first, look(GRACE_SECONDS, watermarks={"em": now}))
        assert stands == (ALICE in watch.stood()), now


def test_what_is_remembered_is_bounded() -> None:
    """Past the bound accounts are counted, not kept."""
    watch = Watch(GRACE_SECONDS)
    for account_id in range(DIFFERENCES_KEPT + 3):
        watch.see(account_id, look(0))
    assert (DIFFERENCES_KEPT, 3) == (len(watch.undecided()), watch.overflow_count)
