"""One virtual shard on a real database: what it tells and answers, and what becomes of it when something breaks."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence

import pytest
from evs.cluster.v1 import cluster_pb2
from evs.v1 import evs_pb2 as pb

from evs_server.cluster import subjects
from evs_server.cluster.codec import (
    decode_ensure_response,
    decode_latest_response,
    decode_snapshots,
    encode_ensure_request,
    encode_latest_request,
)
from evs_server.cluster.news import EnsureRequest, LatestRequest
from evs_server.cluster.ports import Entry
from evs_server.cluster.shards import shard_of
from evs_server.cluster.statuses import decode_error
from evs_server.errors import EvsError, Fenced, LogGap
from evs_server.ingest import slices
from evs_server.limits import PRICE_CENTS_MAX, QUANTITY_BP_MAX
from evs_server.model import SettlementColumns
from evs_server.shard import answers, source, virtual_shard
from evs_server.shard.virtual_shard import VirtualShard
from tests.builders import DAY_MS, NOON_MS, int64
from tests.integration.running import Exchange, exchange_at
from tests.log_in_process import LogInProcess
from tests.patience import PATIENCE_SECONDS, eventually_true
from tests.serving import SetClock, within_patience
from tests.shard_world import Feeder, Worker, applied, committed, news_of, shown
from tests.wire import BUY, cash, prices, ticks, trades

ALICE, BOB = 1, 2
A, B = shard_of(ALICE), shard_of(BOB)
CASH = {ALICE: 1_000_000, BOB: 2_000_000}
KICK = 11


@pytest.fixture
def log() -> LogInProcess:
    return LogInProcess()


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
async def exchange(database: str) -> AsyncIterator[Exchange]:
    async with exchange_at(database) as exchange:
        await exchange.register(CASH)
        yield exchange


@pytest.fixture
async def worker(database: str, exchange: Exchange, log: LogInProcess, clock: SetClock) -> AsyncIterator[Worker]:
    assert exchange, "its accounts are there first"
    async with Worker(database, log, clock, "worker").entered() as worker:
        yield worker


@pytest.fixture
def feeder(log: LogInProcess, clock: SetClock) -> Feeder:
    return Feeder(log, clock, CASH)


async def ask(log: LogInProcess, shard: int, method: str, question: bytes) -> bytes:
    """The owner's answer; what it fails with is raised."""
    reply = await log.ask(shard, method, question, PATIENCE_SECONDS)
    if reply.status:
        raise decode_error(reply.status)
    return reply.data


# --- telling ---------------------------------------------------------------------------------------------------------


async def test_a_tick_is_told_with_what_it_valued(worker: Worker, feeder: Feeder, log: LogInProcess) -> None:
    """The gateway learns from each shard how many accounts its tick valued, and from all of them it adds them up."""
    await worker.take(A, B)
    batch_id = await feeder.put(trades((ALICE, KICK, BUY, 10_000, 500)), ticks(1))
    await applied(worker.shards.values(), feeder)
    await eventually_true(lambda: told_of(log, A, feeder.touched[A]), "news of the tick")
    [made] = [made for news in news_of(log, A) for made in news.passes]
    assert (batch_id, [ALICE]) == (made.batch_id, made.valuation.account_id.tolist())
    assert shown(feeder.whole.engine, CASH) == {
        **shown(worker.shards[A].core.engine, [ALICE]),
        **shown(worker.shards[B].core.engine, [BOB]),
    }


async def told_of(log: LogInProcess, shard: int, position: int) -> bool:
    return any(news.applied_position >= position for news in news_of(log, shard))


async def test_what_a_shard_refuses_is_told_by_its_place_in_the_batch(
    worker: Worker, feeder: Feeder, log: LogInProcess
) -> None:
    """Bounds of an account are known where the account is; the place is that in the batch as it was sent."""
    await worker.take(A)
    too_much = (ALICE, KICK, BUY, QUANTITY_BP_MAX, PRICE_CENTS_MAX)
    await feeder.put(prices((KICK, 5)), trades((BOB, KICK, BUY, 10_000, 5), too_much), first=1)
    await applied(worker.shards.values(), feeder)
    await eventually_true(lambda: told_of(log, A, feeder.touched[A]), "news of the refusal")
    [refusal] = [each for news in news_of(log, A) for each in news.refusals]
    assert (2, "OUT_OF_BOUNDS") == (refusal.index, refusal.error.reason)


async def test_commits_are_told_and_numbers_grow_by_one(worker: Worker, feeder: Feeder, log: LogInProcess) -> None:
    """Whoever listens sees what is committed, and from a hole in the numbers that something was lost."""
    await worker.take(A)
    for tick in range(1, 4):
        await feeder.put(cash((ALICE, tick)), ticks(tick))
        await committed(worker.shards.values(), feeder)
    news = news_of(log, A)
    assert feeder.touched[A] == max(each.committed_position for each in news)
    assert list(range(1, len(news) + 1)) == [each.number for each in news]
    assert {worker.shards[A].core.engine.meta.version >> 32} == {each.start_number for each in news}


async def test_nothing_is_told_before_the_first_import_is_committed(
    worker: Worker, exchange: Exchange, log: LogInProcess
) -> None:
    """Also one without accounts has begun only then: gateways serve once all have."""
    nobody = next(shard for shard in range(64) if shard not in {A, B})
    await worker.take(nobody)
    assert [(1,)] == await exchange.numbers("SELECT flush_number FROM evs.engine WHERE shard = $1", nobody)
    assert [()] == [news.passes for news in news_of(log, nobody)]
    await worker.take(A)
    assert [(1, 1)] == await exchange.numbers(
        "SELECT flush_number, (SELECT count(*) FROM equity_timeseries) FROM evs.engine WHERE shard = $1", A
    )


# --- answering -------------------------------------------------------------------------------------------------------


async def test_reads_are_answered_as_evs_serve_answers_them(worker: Worker, feeder: Feeder, log: LogInProcess) -> None:
    """The contract's own messages, from the newest valuations of the shard; failures are its statuses."""
    await worker.take(A)
    await feeder.put(trades((ALICE, KICK, BUY, 10_000, 500)), prices((KICK, 600)), ticks(1))
    await committed(worker.shards.values(), feeder)
    question = pb.GetEquityRequest(account_id=ALICE).SerializeToString()
    read = pb.GetEquityResponse.FromString(await ask(log, A, "GetEquity", question))
    assert (1_000_100, 999_500) == (read.equity.total_equity, read.equity.cash_balance)
    listed = pb.ListPositionsResponse.FromString(await ask(log, A, "ListPositions", question))
    assert [(KICK, 10_000, 600)] == [(each.symbol_id, each.quantity_bp, each.mark_price) for each in listed.positions]
    best = pb.GetLeaderboardRequest(range=pb.HISTORY_RANGE_ONE_DAY).SerializeToString()
    ranked = pb.GetLeaderboardResponse.FromString(await ask(log, A, "GetLeaderboard", best))
    assert [ALICE] == [entry.account_id for entry in ranked.entries]
    past = pb.GetEquityHistoryRequest(account_id=ALICE, range=pb.HISTORY_RANGE_ALL).SerializeToString()
    assert 1 == len(pb.GetEquityHistoryResponse.FromString(await ask(log, A, "GetEquityHistory", past)).points)
    made = pb.GetPerformanceRequest(account_id=ALICE, range=pb.HISTORY_RANGE_ALL).SerializeToString()
    assert 100 == pb.GetPerformanceResponse.FromString(await ask(log, A, "GetPerformance", made)).profit
    batch = pb.BatchGetEquityRequest(account_ids=[ALICE]).SerializeToString()
    assert 1 == len(pb.BatchGetEquityResponse.FromString(await ask(log, A, "BatchGetEquity", batch)).equities)


@pytest.mark.parametrize(
    ("reason", "method", "question"),
    [
        ("UNKNOWN_ACCOUNT", "GetEquity", pb.GetEquityRequest(account_id=999).SerializeToString()),
        ("INVALID_REQUEST", "GetEquity", b""),
        ("MALFORMED", "GetEquity", b"\xff"),
        ("NOT_SERVED", "OnTradeSettled", b""),
    ],
)
async def test_what_cannot_be_answered_is_answered_with_a_status(
    worker: Worker, log: LogInProcess, reason: str, method: str, question: bytes
) -> None:
    """The gateway hands it on as it is."""
    await worker.take(A)
    with pytest.raises(EvsError) as refused:
        await ask(log, A, method, question)
    assert reason == refused.value.reason


async def test_accounts_created_later_are_made_known_when_a_gateway_asks(
    worker: Worker, feeder: Feeder, log: LogInProcess, exchange: Exchange
) -> None:
    """Those that exist are answered with their snapshots, the others with the reason, known settlements by row."""
    await worker.take(A)
    newcomer = next(each for each in range(1_000, 9_000) if shard_of(each) == A)
    await exchange.register({newcomer: 77})
    await feeder.put(trades((ALICE, KICK, BUY, 10_000, 500, 0, 41)))
    settlements = SettlementColumns(int64(ALICE, ALICE), int64(1, 1), int64(40, 41))
    question = EnsureRequest(int64(ALICE, newcomer, newcomer + 64_000_001), settlements, feeder.touched[A])
    answer = decode_ensure_response(await ask(log, A, answers.ENSURE, encode_ensure_request(question)))
    assert [(ALICE, 1_000_000), (newcomer, 77)] == list(
        zip(answer.snapshots.account_id.tolist(), answer.snapshots.equity_cents.tolist(), strict=True)
    )
    assert {newcomer + 64_000_001: "UNKNOWN_ACCOUNT"} == {
        account_id: error.reason for account_id, error in answer.refused.items()
    }
    assert (1,) == answer.repeated
    latest = decode_latest_response(await ask(log, A, answers.LATEST, encode_latest_request(LatestRequest())))
    assert [ALICE, newcomer] == latest.snapshots.account_id.tolist()


async def test_a_question_waits_until_the_log_is_applied_and_not_for_ever(
    worker: Worker, feeder: Feeder, log: LogInProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gateway that has just put something in asks with its position; a shard that is late says so."""
    await worker.take(A)
    log.held.add(subjects.SHARED)
    await feeder.put(cash((ALICE, 5)), ticks(1))
    question = encode_latest_request(LatestRequest(at_least_position=feeder.touched[A]))
    monkeypatch.setattr(answers, "WAIT_SECONDS", 0.0)
    with pytest.raises(EvsError, match="retry with backoff"):
        await ask(log, A, answers.LATEST, question)
    monkeypatch.setattr(answers, "WAIT_SECONDS", PATIENCE_SECONDS)
    waiting = asyncio.ensure_future(ask(log, A, answers.LATEST, question))
    log.held.clear()
    await log.wake()
    latest = decode_latest_response(await within_patience(waiting))
    assert [1_000_005] == latest.snapshots.equity_cents.tolist()


async def test_last_values_are_there_when_nobody_owns_the_shard(
    worker: Worker, feeder: Feeder, log: LogInProcess
) -> None:
    """What was valued last before it was given up can be read until somebody takes it."""
    await worker.take(A)
    await feeder.put(cash((ALICE, 5)), ticks(1))
    await applied(worker.shards.values(), feeder)
    await worker.give_up(A)
    kept = await log.read(A, ALICE)
    assert kept is not None
    assert [1_000_005] == decode_snapshots(cluster_pb2.Snapshots.FromString(kept)).equity_cents.tolist()


# --- large batches ---------------------------------------------------------------------------------------------------


@pytest.fixture
def small_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every tick is a slice, behind which others get a turn."""
    monkeypatch.setattr(slices, "SLICE_EVENTS", 1)
    monkeypatch.setattr(source, "TURN_SECONDS", -1.0)


def many_ticks(count: int) -> list[pb.EventRun]:
    """Ticks with a deposit before each: what is valued tells which was the last."""
    return [run for tick in range(1, count + 1) for run in (cash((ALICE, 5)), ticks(tick))]


@pytest.mark.usefixtures("small_slices")
async def test_a_large_batch_lets_others_have_a_turn_and_is_committed_as_a_whole(
    worker: Worker, feeder: Feeder
) -> None:
    """Whoever looks in between sees ticks come; a flush in between finds nothing that could be written."""
    await worker.take(A)
    shard = worker.shards[A]
    assert 0 == await shard.core.writer.drain(PATIENCE_SECONDS)
    written = shard.core.writer.statistics().committed_flush_number
    seen = set()
    await feeder.put(*many_ticks(20))
    while shard._position.applied < feeder.touched[A]:
        seen.add(shard.core.engine.meta.tick)
        shard.core.gate.flush_now()
        writer = shard.core.writer.statistics()
        assert (0, written) == (writer.waiting_flush_count, writer.committed_flush_number)
        await asyncio.sleep(0)
    assert len(seen) > 10
    await committed([shard], feeder)
    assert shown(feeder.whole.engine, [ALICE]) == shown(shard.core.engine, [ALICE])


@pytest.mark.usefixtures("small_slices")
async def test_a_batch_that_is_left_in_the_middle_is_applied_by_the_next_owner(worker: Worker, feeder: Feeder) -> None:
    """All of it: nothing of it was committed."""
    await worker.take(A)
    await feeder.put(*many_ticks(20))
    while worker.shards[A].core.engine.meta.tick < 5:  # noqa: ASYNC110 -- of the turns that it gives, none is left out
        await asyncio.sleep(0)
    engine = worker.shards[A].core.engine
    await worker.give_up(A)
    assert engine.meta.tick < 20, "it was in the middle"
    await worker.take(A)
    await committed(worker.shards.values(), feeder)
    assert shown(feeder.whole.engine, [ALICE]) == shown(worker.shards[A].core.engine, [ALICE])
    assert 1_000_100 == worker.shards[A].core.engine.latest_snapshots().equity_cents.item(0)


# --- breaking --------------------------------------------------------------------------------------------------------


async def test_a_slow_shard_does_not_hold_up_the_others(worker: Worker, feeder: Feeder, log: LogInProcess) -> None:
    """Each reads for itself."""
    await worker.take(A, B)
    log.held.add(subjects.of_shard(A))
    await feeder.put(cash((ALICE, 5), (BOB, 6)), ticks(1))
    await committed([worker.shards[B]], feeder)
    assert 0 == worker.shards[A].statistics().applied
    log.held.clear()
    await log.wake()
    await committed([worker.shards[A]], feeder)


async def test_an_owner_that_another_has_replaced_can_write_no_more(
    worker: Worker, feeder: Feeder, log: LogInProcess
) -> None:
    """One that slept wakes up, applies what it finds, and is turned away; what the new owner has stays as it is."""
    await worker.take(A)
    stale = worker.shards.pop(A)
    await feeder.put(cash((ALICE, 5)), ticks(1))
    await committed([stale], feeder)
    await worker.take(A)
    await feeder.put(cash((ALICE, 7)), ticks(2))
    failure = await within_patience(stale.failure())
    assert isinstance(failure, Fenced)
    await stale.drop()
    await committed(worker.shards.values(), feeder)
    assert shown(feeder.whole.engine, [ALICE]) == shown(worker.shards[A].core.engine, [ALICE])
    starts = {news.start_number for news in news_of(log, A) if news.committed_position == feeder.touched[A]}
    assert {worker.shards[A].core.engine.meta.version >> 32} == starts


class Clinging(LogInProcess):
    """A log whose readers do not let go of it when they are told to."""

    async def follow(self, subjects: Sequence[str], after: int) -> AsyncGenerator[Sequence[Entry], None]:
        try:
            async for entries in super().follow(subjects, after):
                yield entries
        finally:
            await asyncio.Event().wait()


async def test_a_reader_that_does_not_let_go_of_the_log_holds_up_no_move(
    database: str, exchange: Exchange, clock: SetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was applied is committed, and the next owner begins, after a second of patience."""
    assert exchange, "its accounts are there first"
    monkeypatch.setattr(virtual_shard, "CANCEL_SECONDS", 0.01)
    log = Clinging()
    feeder = Feeder(log, clock, CASH)
    async with Worker(database, log, clock, "worker").entered() as worker:
        await worker.take(A)
        await feeder.put(cash((ALICE, 5)), ticks(1))
        await applied(worker.shards.values(), feeder)
        await within_patience(worker.give_up(A))
        await worker.take(A)
        assert feeder.touched[A] == worker.shards[A].statistics().committed


async def test_a_log_that_has_lost_what_comes_next_ends_its_reader_alone(
    worker: Worker, feeder: Feeder, log: LogInProcess
) -> None:
    """To go on would be to go on without events."""
    await worker.take(A, B)
    await feeder.put(cash((BOB, 5)), ticks(1))
    await committed(worker.shards.values(), feeder)
    await worker.give_up(A)
    await feeder.put(cash((ALICE, 5)), ticks(2))
    log.dropped = len(log.messages)
    await worker.take(A)
    assert isinstance(await within_patience(worker.shards[A].failure()), LogGap)
    log.dropped = 0
    await committed([worker.shards[B]], feeder)


async def test_events_of_an_account_that_cannot_be_read_wait_and_hold_up_nobody(
    worker: Worker, feeder: Feeder, exchange: Exchange
) -> None:
    """Though the exchange's tables are locked, the batch is applied, and its account's events once they are not."""
    await worker.take(A)
    newcomer = next(each for each in range(1_000, 9_000) if shard_of(each) == A)
    await exchange.register({newcomer: 50})
    async with exchange.connection.transaction():
        await exchange.connection.execute("LOCK TABLE accounts IN ACCESS EXCLUSIVE MODE")
        await feeder.put(cash((newcomer, 50), (ALICE, 5)), ticks(1))
        await applied(worker.shards.values(), feeder)
        assert 1_000_005 == worker.shards[A].core.engine.latest_snapshots().equity_cents.item(0)
    await eventually_true(lambda: knows(worker.shards[A], newcomer), "the account is read")


async def knows(shard: VirtualShard, account_id: int) -> bool:
    return shard.core.engine.knows(account_id)


# --- the session -----------------------------------------------------------------------------------------------------


async def test_a_quiet_shard_rolls_its_session_by_the_clock(
    worker: Worker, feeder: Feeder, log: LogInProcess, clock: SetClock
) -> None:
    """Where ticks carry no time and nothing comes, midnight comes all the same: a little late, for slow gateways."""
    await worker.take(A)
    await feeder.put(cash((ALICE, 5)), ticks(1))
    await applied(worker.shards.values(), feeder)
    clock.ms = NOON_MS + DAY_MS
    await eventually_true(lambda: has_rolled(log, A), "the session rolls")


async def has_rolled(log: LogInProcess, shard: int) -> bool:
    return any(made.valuation.session_roll for news in news_of(log, shard) for made in news.passes)


async def test_a_shard_that_catches_up_rolls_by_the_time_of_what_it_applies(
    worker: Worker, feeder: Feeder, clock: SetClock
) -> None:
    """What was traded before midnight and is applied after belongs to the day on which it was traded."""
    await worker.take(A)
    await feeder.put(cash((ALICE, 5)), ticks(1))
    await committed(worker.shards.values(), feeder)
    await worker.give_up(A)
    await feeder.put(trades((ALICE, KICK, BUY, 10_000, 500)), prices((KICK, 600)), ticks(2))
    clock.ms += DAY_MS
    await feeder.put(prices((KICK, 700)), ticks(3))
    await worker.take(A)
    await applied(worker.shards.values(), feeder)
    assert shown(feeder.whole.engine, [ALICE]) == shown(worker.shards[A].core.engine, [ALICE])
    assert 100 == worker.shards[A].core.engine.latest_snapshots().day_change_cents.item(0)


async def test_counts_of_events_do_not_fall_when_a_shard_moves(worker: Worker, feeder: Feeder) -> None:
    """A count that falls looks as if it had begun anew, and everything that is left would count as new."""
    await worker.take(A, B)
    await feeder.put(cash((ALICE, 1), (BOB, 2)), ticks(1))
    await applied(worker.shards.values(), feeder)
    counted = dict(worker.common.tally.events)
    assert 2 == counted["cash", "applied"]
    await worker.give_up(B)
    assert counted == worker.common.tally.events
    await worker.take(B)
    await feeder.put(cash((BOB, 3)))
    await applied(worker.shards.values(), feeder)
    assert 3 == worker.common.tally.events["cash", "applied"]
