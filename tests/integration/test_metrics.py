"""The numbers of a running EVS and of a bridge: all that rules and dashboard name are there, and they move."""

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
import yaml
from evs.v1 import evs_pb2 as pb
from websockets.exceptions import InvalidStatus

from evs_server.bridge.server import Bridge
from evs_server.metrics.collector import Rooms
from evs_server.rpc_status import UNEXPECTED, refusals
from evs_server.store.backlog import Backlog
from tests.builders import ALICE, BOB, CAROL, KICK, PUNT
from tests.integration.bridge_world import QUICK, a_world
from tests.integration.running import Evs, Exchange, exchange_at, running
from tests.patience import eventually_true
from tests.serving import within_patience
from tests.watching import Numbers, moved, names, numbers, page, value
from tests.wire import BUY, SELL, cash, prices, ticks, trades

ROOT = Path(__file__).resolve().parents[2]
SHARE = 10_000
NOBODY = 999

STAND_STILL = {
    "evs_spool_limit_bytes", "evs_certificate_expiry_timestamp_seconds", "process_start_time_seconds",
    "process_resident_memory_bytes", "up",
}  # fmt: skip
"""
Numbers that a process does not change, or that are Prometheus' own; the certificate's is tested where it has one. The
memory of a process that has run other tests before need not grow.
"""

LAGGING = ("evs_durable_lag_events", "evs_durable_lag_seconds", "evs_writer_queue_flushes", "evs_writer_queue_rows")


def named(expressions: list[str]) -> set[str]:
    """The metrics that PromQL expressions name; of histograms what they are made of."""
    text = " ".join(re.sub(r'"[^"]*"', "", expression) for expression in expressions)
    return set(re.findall(r"\b(?:evs|process)_[a-z_]+\b", re.sub(r"\{[^}]*\}|\bby \([^)]*\)", "", text)))


def of_rules() -> set[str]:
    groups = yaml.safe_load((ROOT / "deploy" / "prometheus" / "alerts.yaml").read_text())["groups"]
    return named([rule["expr"] for group in groups for rule in group["rules"]])


def of_dashboard() -> set[str]:
    panels = json.loads((ROOT / "deploy" / "grafana" / "evs.json").read_text())["panels"]
    return named([target["expr"] for panel in panels for target in panel.get("targets", ())])


@pytest.fixture
async def exchange(database: str) -> AsyncIterator[Exchange]:
    """Three accounts, one of which holds what nobody has ever priced."""
    async with exchange_at(database) as exchange:
        await exchange.register(dict.fromkeys((ALICE, BOB, CAROL), 1_000_000))
        await exchange.hold(CAROL, PUNT, SHARE, 700)
        yield exchange


@asynccontextmanager
async def watched(database: str, directory: Path) -> AsyncIterator[tuple[Evs, str]]:
    """An EVS that serves, and where it is watched."""
    async with running(database, directory, metrics_listen="127.0.0.1:0") as evs:
        assert evs.application.metrics_address is not None
        yield evs, evs.application.metrics_address


def rooms_of(evs: Evs) -> Rooms:
    rooms = evs.application._collector._rooms
    assert rooms is not None
    return rooms


async def work(evs: Evs, exchange: Exchange, address: str) -> Numbers:
    """A little of everything that senders and readers do; what is seen while one follows."""
    call: Any = evs.stub.SubscribeEquity(pb.SubscribeEquityRequest(account_id=ALICE))
    await within_patience(call.read())
    legs = trades((ALICE, KICK, BUY, SHARE, 500), (BOB, KICK, SELL, SHARE, 500))
    # Two ticks at once: the reader is not sent the first.
    await evs.send(legs, prices((KICK, 510), (PUNT, 800)), ticks(1), prices((KICK, 520)), ticks(2), first=1)
    await evs.send(legs, first=1)
    await evs.send(cash((ALICE, 5)), first=90)
    await within_patience(call.read())
    following = await numbers(address)
    call.cancel()
    await exchange.register({NOBODY - 1: 50})
    await evs.read(NOBODY - 1)
    with pytest.raises(grpc.aio.AioRpcError):
        await evs.read(NOBODY)
    await evs.stored()
    return following


async def lag(evs: Evs, exchange: Exchange, address: str) -> Numbers:
    """What is seen while PostgreSQL cannot store what was applied."""
    held = exchange.connection.transaction()
    await held.start()
    await exchange.connection.execute("LOCK TABLE evs.engine IN ACCESS EXCLUSIVE MODE")
    try:
        await evs.send(cash((ALICE, 7)), ticks(3), first=8)

        async def lagging() -> bool:
            # A tick is captured in the writer's turn: what waits to be is not yet a flush.
            seen = await numbers(address)
            return all(value(seen, name) > 0 for name in LAGGING)

        assert await eventually_true(lagging, "the lag is seen")
        await evs.send(cash((ALICE, 8)), ticks(4), first=10)
        return await numbers(address)
    finally:
        await held.rollback()


async def trouble(evs: Evs, monkeypatch: pytest.MonkeyPatch) -> None:
    """The counts of what cannot be had in a test within seconds; one account's books are really made wrong."""
    rooms = rooms_of(evs)
    rooms.engine._book.accounts.cash_cents[0] += 1
    await evs.send(prices((KICK, 600)), ticks(5), first=12)
    await evs.stored()  # a commit that comes later would take back what is made up of the writer
    rooms.engine._book.symbols.stale[0] = True
    rooms.engine._book.accounts.stale_count[0] += 1
    rooms.hub.note_evicted()
    rooms.loader.note_failure()
    writer = rooms.writer
    writer._statistics = replace(writer._statistics, failure_count=2, set_aside_row_count=3)
    writer._backlog.coalesced_row_count, writer._backlog.spool_failure = 4, "no room"
    writer._failing_since_ms = 1
    monkeypatch.setattr(Backlog, "spool_byte_count", 4_096)
    statistics = rooms.reconciler.statistics()
    statistics.pass_count, statistics.differing_count, statistics.withheld_count = 1, 2, 1
    statistics.last_pass_ms, statistics.compared_count = 1_767_268_800_000, 3
    refusals["GetEquity", UNEXPECTED] += 1


async def test_what_rules_and_dashboard_name_is_there_and_moves(
    exchange: Exchange, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rule on a name that nobody tells never fires; a number that never moves is none."""
    async with watched(database, tmp_path) as (evs, address):
        quiet = await numbers(address)
        following = await work(evs, exchange, address)
        busy = await numbers(address)
        lagging = await lag(evs, exchange, address)
        await trouble(evs, monkeypatch)

        async def ticked() -> bool:
            name = "evs_loop_lag_seconds_count"
            return value(await numbers(address), name) > value(quiet, name)

        assert await eventually_true(ticked, "the lag of the loop is looked at, ten times a second")
        troubled = await numbers(address)
        rooms_of(evs).writer._failing_since_ms = None
    of_evs = {name for name in of_rules() | of_dashboard() if not name.startswith("evs_bridge_")} - STAND_STILL
    assert set() == of_evs - names(busy)
    seen = moved(quiet, following) | moved(following, busy) | moved(busy, lagging) | moved(lagging, troubled)
    # The phase changes at the start and at the end alone; events are parked while tables cannot be read (FAULTS F4).
    assert set() == of_evs - seen - {"evs_phase", "evs_parked_events"}


EXPECTED: dict[tuple[str, str], float] = {
    ("evs_ticks_total", ""): 2,
    ("evs_accounts_valued_total", "cause=tick"): 5,  # all three, whose holdings got a price, then the two traders
    ("evs_valuation_seconds_count", ""): 2,
    ("evs_tick_to_publish_seconds_count", ""): 1,  # both ticks came in one batch
    ("evs_events_total", "kind=trade,outcome=applied"): 2,
    ("evs_events_total", "kind=trade,outcome=duplicate"): 2,
    ("evs_events_total", "kind=cash,outcome=not_taken"): 1,
    ("evs_event_refusals_total", "reason=SEQUENCE_GAP"): 1,
    ("evs_account_loads_total", ""): 1,
    ("evs_accounts", ""): 4,
    ("evs_positions", ""): 3,
    ("evs_unpriced_positions", ""): 0,
    ("evs_identity_violations_total", ""): 0,
    ("evs_snapshots_conflated_total", ""): 1,
    ("evs_durable_lag_events", ""): 0,
    ("evs_phase", "phase=serving"): 1,
    ("evs_ready", ""): 1,
}


async def test_the_numbers_are_those_of_the_work_done(exchange: Exchange, database: str, tmp_path: Path) -> None:
    async with watched(database, tmp_path) as (evs, address):
        assert 1 == value(await numbers(address), "evs_unpriced_positions")
        await work(evs, exchange, address)
        seen = await numbers(address)
    labelled = {
        (name, ",".join(f"{key}={word}" for key, word in sorted(labels))): n for (name, labels), n in seen.items()
    }
    assert EXPECTED == {key: labelled[key] for key in EXPECTED}


async def test_no_label_is_of_a_set_without_bound(exchange: Exchange, database: str, tmp_path: Path) -> None:
    """No account, symbol or sender is a label: its kinds are few, whatever callers send."""
    async with watched(database, tmp_path) as (evs, address):
        await work(evs, exchange, address)
        seen = await numbers(address)
    labels = {label for name, labels in seen if name.startswith("evs_") for label, _ in labels}
    assert {"cause", "kind", "outcome", "reason", "method", "by", "scope", "phase", "le", "version"} == labels
    assert [] == [key for key in seen if any("em" == word for _, word in key[1])]


async def test_the_runbook_explains_every_number(database: str, tmp_path: Path) -> None:
    text = (ROOT / "docs" / "OPERATIONS.md").read_text()
    async with watched(database, tmp_path) as (_, address):
        told = {re.sub("_(bucket|sum|count)$", "", name) for name in names(await numbers(address))}
    assert [] == sorted(name for name in told if name.startswith("evs_") and f"`{name}" not in text)


async def test_a_bridge_tells_what_its_sockets_do(tmp_path: Path) -> None:
    """Every number of it that rules and dashboard name, and each of them moves."""
    async with a_world(tmp_path) as world:
        settings = world.settings.model_copy(update={"bridge_metrics_listen": "127.0.0.1:0"})
        bridge = Bridge(settings, QUICK)
        world.address = await world.stack.enter_async_context(bridge.serving())
        address = bridge.metrics_address
        assert address is not None
        quiet = await numbers(address)
        browser = await world.browser(7, subscribe=True)
        busy = await numbers(address)
        assert (1, 1, 2) == (
            value(busy, "evs_bridge_connections"),
            value(busy, "evs_bridge_accounts"),
            value(busy, "evs_bridge_requests_total"),
        )
        await world.evs.stop()
        await browser.push("status")
        lost = await numbers(address)
        assert 1 == value(lost, "evs_bridge_stale_accounts")
        with pytest.raises(InvalidStatus):
            await world.browser(origin="https://evil.example")
        await browser.websocket.close()
        await world.until_connections(0)
        closed = await numbers(address)
        assert (1, 0) == tuple(
            value(closed, "evs_bridge_refused_total", reason=reason) for reason in ("origin", "room")
        )
        assert 1 == value(closed, "evs_bridge_closes_total", code="1000")
        assert (200, "ready\n") == await page(address, "/readyz")
    wanted = {name for name in of_rules() | of_dashboard() if name.startswith("evs_bridge_")}
    assert set() == wanted - names(busy)
    assert set() == wanted - moved(quiet, busy) - moved(busy, lost) - moved(lost, closed)
