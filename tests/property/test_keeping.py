"""
However little is stored, a start finds the numbers that were told last; and what is promised to be stored, is.

The histories are of prices, trades, flows, newcomers, ticks with and without a time of their own, rolls, and starts
after a crash that loses whatever was not flushed.
"""

from collections.abc import Iterable
from itertools import pairwise
from typing import get_args

from hypothesis import given
from hypothesis import strategies as st

from evs_server.ingest.keeping import Policy, keeping
from evs_server.model import Snapshot, Valuation
from evs_server.store.memory import Tables
from tests.builders import NOON_MS, an_account, exchange_tables, snapshots
from tests.property.events import PRICES, QUANTITIES, SIDES, SYMBOLS
from tests.simulation.process import Process
from tests.wire import a_batch, cash, prices, ticks, trades

INTERVAL_SECONDS = 60
ACCOUNTS = (1, 2, 3)
STALE_AFTER_MS = 3_600_000

Step = tuple[str, tuple[int, ...]]

ACCOUNT = st.sampled_from(ACCOUNTS)
STEPS: st.SearchStrategy[Step] = st.one_of(
    st.tuples(st.just("trade"), st.tuples(ACCOUNT, SYMBOLS, SIDES, QUANTITIES, PRICES)),
    st.tuples(st.just("price"), st.tuples(SYMBOLS, PRICES)),
    st.tuples(st.just("price"), st.tuples(SYMBOLS, PRICES)),
    st.tuples(st.just("cash"), st.tuples(ACCOUNT, st.integers(-500, 500).filter(bool))),
    st.tuples(st.just("tick"), st.tuples(st.sampled_from([0, 0, 0, 1, 30_000, 90_000]))),
    st.tuples(st.just("tick"), st.just((0,))),
    st.tuples(st.just("wait"), st.tuples(st.sampled_from([1, 1_000, 20_000, 61_000, 43_200_000]))),
    st.tuples(st.just("roll"), st.just(())),
    st.tuples(st.just("flush"), st.just(())),
)
HISTORIES = st.integers(0, 25).flatmap(lambda length: st.lists(STEPS, min_size=length, max_size=length))


class Service:
    """An EVS whose database commits at once whatever is flushed, under one policy."""

    def __init__(self, policy: Policy) -> None:
        self.policy: Policy = policy
        self.now_ms = NOON_MS
        self.tables = Tables()
        self.passes: list[Valuation] = []
        self.process = self._started()
        # The second has no price for what it holds: its base is its first valuation that has.
        tables = exchange_tables({1: 1_000_000, 2: 0}, {(2, 1): (20_000, 50), (2, 2): (-5_000, 333)}, {2: 300})
        self.process.intake.import_exchange(tables, self.now_ms)
        self.process.intake.open_accounts([an_account(3)], self.now_ms)
        self._take_passes()

    def _started(self) -> Process:
        return Process(self.tables, STALE_AFTER_MS, self.now_ms, keeping(self.policy, INTERVAL_SECONDS))

    def do(self, step: Step) -> None:
        kind, arguments = step
        intake = self.process.intake
        match kind:
            case "trade":
                intake.take(a_batch(trades(arguments)), self.now_ms)
            case "price":
                [symbol_id, price_cents] = arguments
                intake.take(a_batch(prices((symbol_id, price_cents))), self.now_ms)
            case "cash":
                [account_id, amount_cents] = arguments
                intake.take(a_batch(cash((account_id, amount_cents))), self.now_ms)
            case "tick":
                [ahead_ms] = arguments
                time_ms = self.now_ms + ahead_ms if ahead_ms else 0
                intake.take(a_batch(ticks(1, tick_time=(time_ms,))), self.now_ms)
            case "wait":
                self.now_ms += arguments[0]
            case "roll":
                intake.roll_if_due(self.now_ms)
            case "flush":
                intake.flush()
        while self.process.has_unwritten:
            self.process.attempt(1, self.now_ms)
        self._take_passes()

    def crash(self) -> None:
        """End, and start again."""
        self.process = self._started()
        self._take_passes()

    def end(self) -> None:
        """Flush the rest, after an interval that is over for all."""
        self.now_ms += 7_200_000
        for step in (("wait", (0,)), ("price", (9, 1)), ("cash", (1, 1)), ("tick", (0,)), ("flush", ())):
            self.do(step)

    def _take_passes(self) -> None:
        self.passes += self.process.published
        self.process.published.clear()


def histories_of(passes: Iterable[Valuation]) -> dict[int, list[Snapshot]]:
    """The snapshots of each account, in order of version."""
    found: dict[int, list[Snapshot]] = {account_id: [] for account_id in ACCOUNTS}
    for each in sorted(snapshots(passes), key=lambda each: each.version):
        found[each.account_id].append(each)
    return found


@given(st.sampled_from(get_args(Policy)), HISTORIES, st.sets(st.integers(0, 25)))
def test_a_crash_at_any_flush_loses_no_number_and_no_version_has_two(
    policy: Policy, history: list[Step], crashes: set[int]
) -> None:
    """(4, 16, 20) And where everything is stored, a start makes no valuation at all."""
    service = Service(policy)
    for index, step in enumerate(history):
        service.do(step)
        if index in crashes:
            service.do(("flush", ()))
            before, pass_count = service.process.told(), len(service.passes)
            service.crash()
            assert before == service.process.told()
            assert policy != "every_tick" or pass_count == len(service.passes)
    service.end()
    versions = [made.version for made in service.passes]
    assert all(earlier < later for earlier, later in pairwise(versions))
    told = {(each.account_id, each.version): each for each in snapshots(service.passes)}
    for each in snapshots(service.tables.rows):
        assert told[each.account_id, each.version] == each


@given(HISTORIES, st.sets(st.integers(0, 25)))
def test_the_newest_policy_finds_what_an_older_one_left_out(history: list[Step], crashes: set[int]) -> None:
    """Each start may have another policy than the one before."""
    service = Service("every_tick")
    policies = get_args(Policy)
    for index, step in enumerate(history):
        service.do(step)
        if index in crashes:
            service.do(("flush", ()))
            before = service.process.told()
            service.policy = policies[index % len(policies)]
            service.crash()
            assert before == service.process.told()


@given(HISTORIES)
def test_the_last_valuation_of_each_interval_is_stored(history: list[Step]) -> None:
    service = Service("interval")
    for step in history:
        service.do(step)
    service.end()
    stored = {(each.account_id, each.version) for each in snapshots(service.tables.rows)}
    newest_ms = max(made.timestamp_ms for made in service.passes)
    for of_account in histories_of(service.passes).values():
        last_of = {each.timestamp_ms // (INTERVAL_SECONDS * 1_000): each for each in of_account}
        for interval, last in last_of.items():
            if interval != newest_ms // (INTERVAL_SECONDS * 1_000):
                assert (last.account_id, last.version) in stored


@given(HISTORIES)
def test_closes_and_the_last_of_each_session_are_the_same_under_every_policy(history: list[Step]) -> None:
    """What a bar of a day ends with, and what growth is worked out of: the close, and the base that is told before."""

    def closes(policy: Policy) -> list[tuple[Snapshot, Snapshot]]:
        service = Service(policy)
        for step in history:
            service.do(step)
        service.end()
        rolls = {made.version for made in service.tables.rows if made.session_roll}
        of_accounts = histories_of(service.tables.rows).values()
        return [pair for of_account in of_accounts for pair in pairwise(of_account) if pair[1].version in rolls]

    whole = closes("every_tick")
    assert whole == closes("interval")
    assert whole == closes("on_trade")
