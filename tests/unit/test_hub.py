"""What each reader gets, and what a slow one loses."""

import gc
import weakref

from hypothesis import given
from hypothesis import strategies as st

from evs_server.fanout.hub import Hub, Mailbox, PassBox, Sheet
from evs_server.model import Snapshot
from tests.builders import ALICE, BOB, CAROL
from tests.flushes import a_valuation, plain, snapshots


def a_snapshot(version: int, account_id: int = ALICE) -> Snapshot:
    return a_valuation(version, {account_id: 100 * version}).snapshot(0)


class Reader:
    """A mailbox, and how often it was woken."""

    def __init__(self) -> None:
        self.wakes = 0
        self.mailbox = Mailbox(self._wake)

    def read(self) -> list[tuple[int, int, int]]:
        """What is waiting: account, version and how many were skipped before it."""
        return [
            (each.snapshot.account_id, each.snapshot.version, each.conflated_count) for each in self.mailbox.drain()
        ]

    def _wake(self) -> None:
        self.wakes += 1


def test_a_reader_that_keeps_up_gets_everything() -> None:
    reader = Reader()
    for version in (5, 6, 7):
        reader.mailbox.offer(a_snapshot(version))
        assert [(ALICE, version, 0)] == reader.read()
    assert 3 == reader.wakes


def test_a_slow_reader_gets_the_latest_and_how_many_it_missed() -> None:
    reader = Reader()
    for version in (5, 6, 7):
        reader.mailbox.offer(a_snapshot(version))
    assert [(ALICE, 7, 2)] == reader.read()
    reader.mailbox.offer(a_snapshot(8))
    assert [(ALICE, 8, 0)] == reader.read()


def test_what_was_read_does_not_come_again() -> None:
    reader = Reader()
    reader.mailbox.offer(a_snapshot(5))
    reader.read()
    assert [] == reader.read()


def test_versions_never_go_back() -> None:
    """Neither before nor after sending, and what is not news wakes nobody."""
    reader = Reader()
    reader.mailbox.offer(a_snapshot(6))
    for version in (5, 6):
        reader.mailbox.offer(a_snapshot(version))
    assert [(ALICE, 6, 0)] == reader.read()
    for version in (5, 6):
        reader.mailbox.offer(a_snapshot(version))
    assert ([], 1) == (reader.read(), reader.wakes)


def test_accounts_have_a_slot_each() -> None:
    reader = Reader()
    for version, account_id in ((5, BOB), (6, ALICE), (7, BOB)):
        reader.mailbox.offer(a_snapshot(version, account_id))
    assert [(BOB, 7, 1), (ALICE, 6, 0)] == reader.read()


def test_forgetting_drops_what_is_waiting_and_what_was_sent() -> None:
    reader = Reader()
    reader.mailbox.offer(a_snapshot(5))
    reader.read()
    reader.mailbox.offer(a_snapshot(6))
    reader.mailbox.forget(ALICE)
    assert [] == reader.read()
    reader.mailbox.offer(a_snapshot(5))
    assert [(ALICE, 5, 0)] == reader.read()


@given(st.lists(st.one_of(st.tuples(st.sampled_from([ALICE, BOB]), st.integers(1, 6)), st.none()), max_size=60))
def test_whatever_the_reader_does_versions_grow_and_nothing_final_is_lost(
    history: list[tuple[int, int] | None],
) -> None:
    """None is a read; a number moves the account's version on, by zero too: then the same snapshot is offered again."""
    reader = Reader()
    version = dict.fromkeys((ALICE, BOB), 1)
    offered = dict.fromkeys((ALICE, BOB), 0)
    got: dict[int, list[tuple[int, int]]] = {ALICE: [], BOB: []}

    def read() -> None:
        for account_id, came, conflated in reader.read():
            got[account_id].append((came, conflated))

    for step in history:
        if step is None:
            read()
            continue
        account_id, growth = step
        offered[account_id] += 1 if growth > 1 or not offered[account_id] else 0
        version[account_id] += growth - 1
        reader.mailbox.offer(a_snapshot(version[account_id], account_id))
    read()
    for account_id, came in got.items():
        versions = [each for each, _ in came]
        assert versions == sorted(set(versions))
        assert offered[account_id] == sum(1 + conflated for _, conflated in came)
        assert (versions[-1] if versions else 1) == version[account_id]


def test_a_pass_goes_to_those_who_follow_its_accounts() -> None:
    hub, first, second, other = Hub(), Reader(), Reader(), Reader()
    hub.follow(ALICE, first.mailbox)
    hub.follow(ALICE, second.mailbox)
    hub.follow(BOB, second.mailbox)
    hub.follow(CAROL, other.mailbox)
    hub.publish(a_valuation(5, {BOB: 20, ALICE: 10, 99: 7}))
    assert [(ALICE, 5, 0)] == first.read()
    assert [(BOB, 5, 0), (ALICE, 5, 0)] == second.read()
    assert [] == other.read()


def test_a_pass_of_one_account_goes_to_its_followers() -> None:
    hub, alice, bob = Hub(), Reader(), Reader()
    hub.follow(ALICE, alice.mailbox)
    hub.follow(BOB, bob.mailbox)
    hub.publish(a_valuation(5, {BOB: 20}))
    assert ([], [(BOB, 5, 0)]) == (alice.read(), bob.read())


def test_an_empty_pass_and_one_that_nobody_follows_reach_nobody() -> None:
    hub, reader = Hub(), Reader()
    hub.publish(a_valuation(5, {ALICE: 10}))
    hub.follow(ALICE, reader.mailbox)
    hub.publish(a_valuation(6, {}))
    hub.publish(a_valuation(7, {BOB: 10, CAROL: 10}))
    assert [] == reader.read()


def test_what_is_read_is_the_valuation_to_the_last_number() -> None:
    hub, reader = Hub(), Reader()
    hub.follow(BOB, reader.mailbox)
    valuation = a_valuation(5, {ALICE: 10, BOB: -21}, percent_e4=-7, flags=6)
    hub.publish(valuation)
    assert [valuation.snapshot(1)] == [each.snapshot for each in reader.mailbox.drain()]


def test_who_follows_no_longer_gets_nothing_and_may_say_so_twice() -> None:
    hub, leaving, staying = Hub(), Reader(), Reader()
    for reader in (leaving, staying):
        hub.follow(ALICE, reader.mailbox)
    hub.unfollow(ALICE, leaving.mailbox)
    hub.unfollow(ALICE, leaving.mailbox)
    hub.publish(a_valuation(5, {ALICE: 10}))
    assert ([], [(ALICE, 5, 0)]) == (leaving.read(), staying.read())


def test_statistics_count_accounts_and_subscriptions() -> None:
    hub, reader = Hub(), Reader()
    hub.follow(ALICE, reader.mailbox)
    hub.follow(BOB, reader.mailbox)
    hub.follow(ALICE, Reader().mailbox)
    assert {"followed_accounts": 2, "subscriptions": 3} == hub.statistics()


def test_ten_thousand_readers_come_and_go_and_leave_nothing() -> None:
    """FAULTS 24."""
    hub = Hub()
    gone = []
    for number in range(10_000):
        reader = Reader()
        hub.follow(number % 100, reader.mailbox)
        hub.publish(a_valuation(number + 1, {number % 100: 1}))
        hub.unfollow(number % 100, reader.mailbox)
        gone.append(weakref.ref(reader.mailbox))
    del reader
    gc.collect()
    assert {"followed_accounts": 0, "subscriptions": 0} == hub.statistics()
    assert [] == [alive for alive in gone if alive() is not None]


# --- readers of every account --------------------------------------------------------------------------------------


class ReaderOfAll:
    """A pass box, what its reader has got, and how often it was woken."""

    def __init__(self, rows_max: int = 100) -> None:
        self.wakes = 0
        self.box = PassBox(self._wake, rows_max)

    def begin(self, equity_cents: dict[int, int], version: int = 1) -> None:
        """Take everything as of now."""
        self.box.begin(snapshots(a_valuation(version, equity_cents)))

    def read(self) -> dict[int, tuple[int, int, int]]:
        """What is waiting: by account its version, its equity and how many were skipped before it."""
        sheet = self.box.drain()
        return {} if sheet is None else rows_of(sheet)

    def _wake(self) -> None:
        self.wakes += 1


def rows_of(sheet: Sheet) -> dict[int, tuple[int, int, int]]:
    table = sheet.table
    found = zip(table.version.tolist(), table.equity_cents.tolist(), sheet.conflated_count.tolist(), strict=True)
    rows = dict(zip(table.account_id.tolist(), found, strict=True))
    assert len(rows) == len(table), "an account comes once"
    return rows


def test_a_reader_of_all_begins_with_everything() -> None:
    reader = ReaderOfAll()
    assert reader.box.behind
    sheet = reader.box.begin(snapshots(a_valuation(4, {ALICE: 10, BOB: 20})))
    assert (True, {ALICE: (4, 10, 0), BOB: (4, 20, 0)}) == (sheet.first, rows_of(sheet))
    assert ({}, False) == (reader.read(), reader.box.behind)


def test_a_reader_of_all_gets_every_pass_as_it_is() -> None:
    hub, reader = Hub(), ReaderOfAll()
    hub.follow_all(reader.box)
    reader.begin({ALICE: 1, BOB: 2})
    for version in (5, 6):
        hub.publish(a_valuation(version, {BOB: 20, ALICE: 10}))
        assert {ALICE: (version, 10, 0), BOB: (version, 20, 0)} == reader.read()
    assert ({}, 2, 1) == (reader.read(), reader.wakes, hub.reader_of_all_count)


def test_a_slow_reader_of_all_gets_the_newest_of_each_account() -> None:
    reader = ReaderOfAll()
    reader.begin({ALICE: 1, BOB: 2, CAROL: 3})
    for version, equity_cents in ((5, {BOB: 20, ALICE: 10}), (6, {CAROL: 30}), (7, {BOB: 21})):
        reader.box.offer(a_valuation(version, equity_cents))
    assert {ALICE: (5, 10, 0), BOB: (7, 21, 1), CAROL: (6, 30, 0)} == reader.read()


def test_what_waits_for_a_reader_of_all_is_the_valuation_to_the_last_number() -> None:
    reader = ReaderOfAll()
    reader.begin({})
    valuation = a_valuation(5, {ALICE: 10, BOB: -21}, percent_e4=-7, flags=6)
    reader.box.offer(valuation)
    sheet = reader.box.drain()
    assert sheet is not None
    assert plain(snapshots(valuation)) == plain(sheet.table)


def test_a_reader_of_all_that_takes_nothing_is_behind_and_begins_anew() -> None:
    """One pass may be as large as it is; a second one beyond the bound lets go of both."""
    reader = ReaderOfAll(rows_max=3)
    reader.begin({})
    reader.box.offer(a_valuation(5, dict.fromkeys(range(1, 9), 1)))
    assert not reader.box.behind
    reader.box.offer(a_valuation(6, {ALICE: 2}))
    reader.box.offer(a_valuation(7, {ALICE: 3}))
    assert (True, None, 3) == (reader.box.behind, reader.box.drain(), reader.wakes)
    sheet = reader.box.begin(snapshots(a_valuation(8, {ALICE: 4})))
    assert (True, {ALICE: (8, 4, 0)}) == (sheet.first, rows_of(sheet))
    reader.box.offer(a_valuation(9, {ALICE: 5}))
    assert {ALICE: (9, 5, 0)} == reader.read()


def test_an_empty_pass_wakes_no_reader_of_all() -> None:
    reader = ReaderOfAll()
    reader.begin({})
    reader.box.offer(a_valuation(5, {}))
    assert ({}, 0) == (reader.read(), reader.wakes)


def test_who_follows_all_no_longer_gets_nothing_and_may_say_so_twice() -> None:
    hub, reader = Hub(), ReaderOfAll()
    hub.follow_all(reader.box)
    reader.begin({})
    hub.unfollow_all(reader.box)
    hub.unfollow_all(reader.box)
    hub.publish(a_valuation(5, {ALICE: 10}))
    assert ({}, 0) == (reader.read(), hub.reader_of_all_count)


@given(
    st.lists(st.one_of(st.sets(st.sampled_from([ALICE, BOB, CAROL]), min_size=1), st.none()), max_size=60),
    st.integers(1, 12),
)
def test_whatever_a_reader_of_all_does_versions_grow_and_nothing_final_is_lost(
    history: list[set[int] | None], rows_max: int
) -> None:
    """None is a read, in which one who is behind begins anew; a set moves its accounts on."""
    reader = ReaderOfAll(rows_max)
    version = dict.fromkeys((ALICE, BOB, CAROL), 1)
    got = {account_id: [0] for account_id in version}

    def read() -> None:
        if reader.box.behind:
            rows = rows_of(reader.box.begin(snapshots(*(a_valuation(each, {one: 1}) for one, each in version.items()))))
        else:
            rows = reader.read()
        for account_id, (came, _, _) in rows.items():
            got[account_id].append(came)

    for number, step in enumerate(history, 2):
        if step is None:
            read()
            continue
        version |= dict.fromkeys(step, number)
        reader.box.offer(a_valuation(number, dict.fromkeys(step, number)))
    read()
    for account_id, came in got.items():
        # Who begins anew may be told again what it knows, and never anything older.
        assert sorted(came) == came
        assert version[account_id] == came[-1]
