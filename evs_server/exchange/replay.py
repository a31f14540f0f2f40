"""
``evs replay``: real prints through the whole service, and an audit of every account at the end.

Lives here: the order of things. Files are checked whole; accounts are opened and made known to EVS; then each print is
settled and announced, a batch being settled while the one before is announced; when all is durable, the audit. Not
here: the plan (``matching``), settlement (``account_service``), the verdict (``auditor``), whose EVS it is (``venue``).
Touches everything.

Memory is flat: one batch is in each stage, and what EVS has not made durable fits the sender's outbox, which holds up
settlement when it is full.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final

import grpc.aio
from evs.v1 import evs_pb2_grpc
from evs_client import ExecutionManagerClient
from evs_client.errors import EvsClientError
from evs_client.tuning import SenderTuning

from evs_server.channel import STREAMS_SECONDS, bearer_of, open_channel, sender_address, sender_credentials
from evs_server.clock import Clock, SystemClock
from evs_server.config import Settings
from evs_server.errors import StoreUnavailable
from evs_server.exchange.account_service import AccountService
from evs_server.exchange.auditor import Verdict, audit
from evs_server.exchange.evidence import introduce
from evs_server.exchange.ledger import Settlement, Trade
from evs_server.exchange.matching import Batch, planned
from evs_server.exchange.prints import Tape
from evs_server.exchange.report import FINDINGS_SHOWN, Bar, Summary, print_summary, progress_bar
from evs_server.exchange.venue import ServeEvs, open_venue
from evs_server.roles import Role
from evs_server.stopping import unless_stopped
from evs_server.store.database import Database

SOURCE: Final = "replay"
NAME: Final = "evs-replay"
ROLES: Final = (Role.INGEST, Role.READ_ANY)
OPENING_CENTS: Final = range(1_000_000, 100_000_000)
"""$10,000 to $1 million; what an account opens with is drawn from it."""

OUTBOX_EVENTS: Final = range(8_192, 32_769)
"""Least and most events that may not be durable. A batch must fit ..."""

OUTBOX_ROWS_MAX: Final = 6_500_000
"""... and, as each tick may value all accounts, events times accounts: their rows wait in EVS to be stored."""

STALL_SECONDS_MAX: Final = 120
"""How long EVS may take to make room for one more batch, or to store the rest at the end."""


@dataclass(frozen=True, slots=True)
class ReplayOptions:
    """
    What to replay, and how.

    Attributes:
        files: LEAN trade files.
        accounts: How many accounts trade, at least 1.
        tick_ms: Length of a tick in milliseconds of market time, at least 1.
        seed: Of who trades with whom.
        tamper: Alter one position before the audit, which must find it.
        json: A summary for programs.
    """

    files: Sequence[Path]
    accounts: int = 200
    tick_ms: int = 1_000
    seed: int = 1
    tamper: bool = False
    json: bool = False


async def run_replay(options: ReplayOptions, settings: Settings, serve: ServeEvs) -> bool:
    """
    Replay, audit, print the summary.

    Args:
        options: What the command was given.
        settings: If ``server`` is set among them, that EVS is used, and the database that it uses; otherwise ``serve``
            runs one, on ``database_url`` or on an embedded database that is gone afterwards.
        serve: See ``ServeEvs``.

    Returns:
        Whether everything agrees.

    Raises:
        InputError: If a file is bad; nothing has been applied.
        ConfigError: If the server named and the database do not belong together.
        StoreUnavailable: If EVS or Postgres goes away.
    """
    tape = Tape.checked(options.files)
    try:
        async with open_venue(settings, serve) as venue:
            replay = Replay(options, tape, venue.settings, venue.dsn)
            summary = await unless_stopped(venue.ending, replay.run())
            if summary is None:
                raise StoreUnavailable(f"the replay's EVS has ended by itself: it {venue.ending.words}")
    except EvsClientError as error:
        raise StoreUnavailable(f"the replay cannot go on: {error}{_where_else(error)}") from error
    except grpc.aio.AioRpcError as error:
        raise StoreUnavailable(f"EVS cannot be asked: {error.code().name}: {error.details()}") from error
    print_summary(summary, as_json=options.json)
    return summary.good


class Replay:
    """
    One replay against one EVS.

    Args:
        options: How to replay.
        tape: What to replay.
        settings: Where EVS is, and what to call it with.
        dsn: The database that it uses.
        clock: Says how long it took.
    """

    def __init__(
        self, options: ReplayOptions, tape: Tape, settings: Settings, dsn: str, clock: Clock | None = None
    ) -> None:
        self._options = options
        self._tape = tape
        self._settings = settings
        self._dsn = dsn
        self._clock = clock or SystemClock()
        self._tick_count = 0
        self._refused_count = 0

    async def run(self) -> Summary:
        """Open accounts, trade, audit."""
        async with (
            AccountService.connect(self._dsn) as exchange,
            open_channel(self._settings, NAME, ROLES, token_seconds=STREAMS_SECONDS) as channel,
        ):
            stub = evs_pb2_grpc.EquityValuationServiceStub(channel)
            opening_cents = await self._open_accounts(exchange)
            await introduce(stub, list(opening_cents))
            with progress_bar(self._tape.print_count, shown=not self._options.json) as progress:
                started_s = self._clock.monotonic()
                await self._trade(exchange, list(opening_cents), progress)
                seconds = self._clock.monotonic() - started_s
                progress.turn_to("auditing")
                verdict = await self._audit(stub, opening_cents)
        return self._summary(verdict, seconds)

    async def _open_accounts(self, exchange: AccountService) -> dict[int, int]:
        """The cash that each account opens with, by its id."""
        draw = Random(self._options.seed)  # noqa: S311 - a replay must be repeatable
        cash = {f"replay {number}": draw.choice(OPENING_CENTS) for number in range(1, self._options.accounts + 1)}
        account_ids = await exchange.open_accounts(cash)
        return dict(zip(account_ids, cash.values(), strict=True))

    async def _trade(self, exchange: AccountService, account_ids: Sequence[int], progress: Bar) -> None:
        """Settle and announce every print; return when all of it is durable."""
        tuning = SenderTuning(outbox_events_max=_outbox_events(len(account_ids)), close_deadline_s=None)
        plan = planned(self._tape, account_ids, seed=self._options.seed, tick_ms=self._options.tick_ms)
        async with ExecutionManagerClient(
            sender_address(self._settings),
            source=SOURCE,
            tuning=tuning,
            credentials=sender_credentials(self._settings),
            metadata=bearer_of(self._settings, NAME, ROLES, STREAMS_SECONDS) or (),
        ) as client:
            settled: tuple[Batch, list[Settlement]] | None = None
            for batch in plan:
                # Never announced before it is settled; but while one batch settles, the one before is announced.
                announcing = self._announce(client, settled)
                settlements, _ = await asyncio.gather(exchange.settle_many(batch.trades), announcing)
                settled = batch, settlements
                progress.advance(len(batch.trades))
            await self._announce(client, settled)
            progress.turn_to("storing")
            async with _in_time():
                await client.wait_durable(STALL_SECONDS_MAX)
            self._refused_count = client.statistics().refused_count

    async def _announce(self, client: ExecutionManagerClient, settled: tuple[Batch, list[Settlement]] | None) -> None:
        if settled is None:
            return
        steps, settlements = settled[0].steps, iter(settled[1])
        async with _in_time(), client.batch() as block:
            for step in steps:
                if isinstance(step, Trade):
                    buyer, seller, symbol_id, quantity_bp, price_cents, _ = step
                    ids = next(settlements)
                    block.trade(
                        buyer, symbol_id, "BUY", quantity_bp=quantity_bp, price_cents=price_cents,
                        settlement_id=ids.buy_id,
                    )  # fmt: skip
                    block.trade(
                        seller, symbol_id, "SELL", quantity_bp=quantity_bp, price_cents=price_cents,
                        settlement_id=ids.sell_id,
                    )  # fmt: skip
                else:
                    block.tick(step.tick_id, step.time_ms)
                    self._tick_count += 1

    async def _audit(
        self, stub: "evs_pb2_grpc.EquityValuationServiceAsyncStub", opening_cents: dict[int, int]
    ) -> Verdict:
        database = await Database.open(self._dsn)
        try:
            return await audit(stub, database, opening_cents, tamper=self._options.tamper)
        finally:
            await database.close()

    def _summary(self, verdict: Verdict, seconds: float) -> Summary:
        event_count = 2 * self._tape.print_count + self._tick_count
        found = [str(mismatch) for mismatch in verdict.mismatches] + list(verdict.breaches)
        if verdict.leg_count != 2 * self._tape.print_count:
            found.append(f"trades has {verdict.leg_count} legs of {self._tape.print_count} prints")
        return Summary(
            prints=self._tape.print_count,
            events=event_count,
            ticks=self._tick_count,
            rows=verdict.row_count,
            accounts=self._options.accounts,
            mismatches=len(verdict.mismatches),
            identity_violations=verdict.violation_count,
            conservation_breaches=len(verdict.breaches),
            refused=self._refused_count,
            seconds=round(seconds, 3),
            events_per_second=int(event_count / seconds),
            findings=found[:FINDINGS_SHOWN],
        )


@asynccontextmanager
async def _in_time() -> AsyncIterator[None]:
    """A block in which EVS makes room for more, or stores the rest; says so if it does not."""
    try:
        async with asyncio.timeout(STALL_SECONDS_MAX):
            yield
    except TimeoutError:
        raise StoreUnavailable(f"EVS has not stored anything for {STALL_SECONDS_MAX} s: its log says why") from None


def _where_else(error: EvsClientError) -> str:
    """What to do if events are taken at another address of the same EVS."""
    elsewhere = "EVS_INGEST_LISTEN" in str(error)
    return " (give that address to --ingest-server, or set EVS_INGEST_SERVER)" if elsewhere else ""


def _outbox_events(account_count: int) -> int:
    """How many events may wait to be durable, for so many accounts."""
    return min(max(OUTBOX_ROWS_MAX // account_count, OUTBOX_EVENTS[0]), OUTBOX_EVENTS[-1])
