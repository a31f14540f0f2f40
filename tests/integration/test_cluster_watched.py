"""A gateway and a worker as they are deployed: with the rights that NATS gives each, and with the numbers they tell."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import nats
import pytest
import yaml
from evs.v1 import evs_pb2 as pb
from evs.v1 import evs_pb2_grpc

from evs_server.config import load
from evs_server.gateway.app import Gateway
from evs_server.shard.app import ShardProcess
from tests.integration.running import exchange_at
from tests.nats import a_nats_of, free_ports
from tests.serving import within_patience
from tests.watching import Numbers, moved, names, numbers, value
from tests.wire import BUY, SELL, cash, prices, ticks, trades

ROOT = Path(__file__).resolve().parents[2]
CASH = dict.fromkeys(range(1, 41), 1_000_000)
PASSWORDS = {"NATS_GATEWAY_PASSWORD": "g", "NATS_SHARD_PASSWORD": "s", "NATS_OPERATOR_PASSWORD": "o"}


@asynccontextmanager
async def a_nats_as_deployed(directory: Path) -> AsyncIterator[int]:
    """The server of ``deploy/nats/single.conf``, but for where it listens and where it keeps what it has; its port."""
    [port] = free_ports(1)
    given = (ROOT / "deploy" / "nats" / "single.conf").read_text()
    ours = given.replace("/data", str(directory / "streams")).replace('"0.0.0.0:4222"', f'"127.0.0.1:{port}"')
    assert ours.count(str(port)) == 1
    (directory / "users.conf").write_text((ROOT / "deploy" / "nats" / "users.conf").read_text())
    async with a_nats_of(re.sub(r"^http:.*$", "", ours, flags=re.MULTILINE), directory, port, PASSWORDS):
        yield port


@asynccontextmanager
async def watched(database: str, port: int, directory: Path) -> AsyncIterator[tuple[Any, str, str]]:
    """A stub of a gateway behind which one worker owns everything, and where the two are watched."""
    common: dict[str, Any] = {
        "database_url": database, "data_dir": directory, "metrics_listen": "127.0.0.1:0", "listen": "127.0.0.1:0",
    }  # fmt: skip
    async with (
        ShardProcess(load(nats_url=f"nats://shard:s@127.0.0.1:{port}", **common)) as worker,
        Gateway(load(nats_url=f"nats://gateway:g@127.0.0.1:{port}", **common)) as gateway,
    ):
        await within_patience(worker.wait_ready())
        await within_patience(gateway.wait_ready())
        assert gateway.metrics_address is not None
        assert worker.metrics_address is not None
        async with grpc.aio.insecure_channel(gateway.address) as channel:
            stub: Any = evs_pb2_grpc.EquityValuationServiceStub(channel)
            yield stub, gateway.metrics_address, worker.metrics_address


async def send(stub: Any, *runs: pb.EventRun, first: int) -> None:
    """One numbered batch, until every shard has committed it."""
    call = stub.StreamEvents()
    await within_patience(call.write(pb.StreamEventsRequest(source="em", epoch=1, first_sequence=first, runs=runs)))
    answer = await within_patience(call.read())
    assert [] == list(answer.refusals)
    await within_patience(call.done_writing())
    request = pb.GetIngestStateRequest(source="em", wait_durable_sequence=answer.applied_sequence)
    await within_patience(stub.GetIngestState(request))


def of_documents() -> set[str]:
    """The numbers of gateways and workers that the handbook explains."""
    return set(re.findall(r"`(evs_(?:gateway|shard)_[a-z_]+)", (ROOT / "docs" / "CLUSTER.md").read_text()))


def of_rules() -> set[str]:
    """Those that an alert looks at."""
    groups = yaml.safe_load((ROOT / "deploy" / "prometheus" / "cluster.yaml").read_text())["groups"]
    expressions = " ".join(rule["expr"] for group in groups for rule in group["rules"])
    return set(re.findall(r"\bevs_(?:gateway|shard)_[a-z_]+\b", expressions))


def alerts_that_count_here() -> set[str]:
    """The alerts of ``evs serve`` that the runbook says are also those of a cluster."""
    runbook = (ROOT / "docs" / "CLUSTER.md").read_text().partition("## Runbook of a cluster")[2]
    return set(re.findall(r"\[(Evs\w+)\]\(OPERATIONS\.md#evs\w+\)", runbook.partition("###")[0]))


def of_one_process(alert: str) -> list[set[str]]:
    """The numbers that an alert of ``evs serve`` looks at; one set for each of the conditions that it fires by."""
    groups = yaml.safe_load((ROOT / "deploy" / "prometheus" / "alerts.yaml").read_text())["groups"]
    [rule] = [rule for group in groups for rule in group["rules"] if rule["alert"] == alert]
    return [set(re.findall(r"\bevs_[a-z_]+\b", condition)) for condition in re.split(r"\bor\b", rule["expr"])]


def own(seen: Numbers) -> set[str]:
    """The names that gateways and workers alone have."""
    return {name for name in names(seen) if name.startswith(("evs_gateway_", "evs_shard_"))}


async def test_with_its_own_rights_each_role_can_do_what_it_has_to_and_tells_every_number_of_the_handbook(
    database: str, tmp_path: Path
) -> None:
    """Large batches and small ones, reads from the owner, streams; a rule on a name that nobody tells never fires."""
    async with exchange_at(database) as exchange:
        await exchange.register(CASH)
    async with a_nats_as_deployed(tmp_path) as port, watched(database, port, tmp_path) as (stub, door, owner):
        before = await numbers(door) | await numbers(owner)
        legs = [(account, 7, side, 10_000, 500) for account in CASH for side in (BUY, BUY, SELL)]
        await send(stub, trades(*legs), prices((7, 510)), ticks(1), first=1)
        await send(stub, cash((1, 5)), ticks(2), first=len(legs) + 3)
        asked = pb.ListPositionsRequest(account_id=1)
        assert 10_000 == (await within_patience(stub.ListPositions(asked))).positions[0].quantity_bp
        following = stub.SubscribeEquity(pb.SubscribeEquityRequest(account_id=1))
        assert 1_000_015 == (await within_patience(following.read())).equity.total_equity
        following.cancel()
        call: Any = stub.StreamEvents()
        await within_patience(
            call.write(pb.StreamEventsRequest(source="em", epoch=1, first_sequence=10_000, runs=[ticks(3)]))
        )
        assert ["ABORTED"] == [refusal.reason for refusal in (await within_patience(call.read())).refusals]
        await within_patience(call.done_writing())
        after = await numbers(door) | await numbers(owner)
    assert of_documents() == own(after)
    assert set() == of_rules() - of_documents()
    told = names(after) | {"evs_certificate_expiry_timestamp_seconds"}  # where there is a certificate
    counting = alerts_that_count_here()
    assert {"EvsCalculationFailed", "EvsReadersEvicted", "EvsLoopStalls"} < counting
    assert set() == {alert for alert in counting if not any(condition <= told for condition in of_one_process(alert))}
    assert (65.0, 40.0) == (value(after, "evs_shard_owned"), value(after, "evs_gateway_accounts"))
    assert 1.0 == value(after, "evs_event_refusals_total", reason="SEQUENCE_GAP")
    worked = {"evs_shard_events_total", "evs_shard_committed_position", "evs_gateway_journal_position"}
    assert set() == worked - moved(before, after)


@pytest.mark.parametrize(
    ("user", "subject"),
    [
        ("shard:s", "evs.in.all"),
        ("shard:s", "$JS.API.STREAM.DELETE.EVS"),
        ("gateway:g", "evs.news.0"),
        ("gateway:g", "evs.last.0.1"),
        ("gateway:g", "$JS.API.STREAM.PURGE.EVS"),
    ],
)
async def test_nats_lets_neither_role_do_what_only_the_other_or_an_operator_may(
    user: str, subject: str, tmp_path: Path
) -> None:
    refused = asyncio.Event()

    async def told(error: Exception) -> None:
        assert f'permissions violation for publish to "{subject.lower()}"' in str(error).lower()
        refused.set()

    async with a_nats_as_deployed(tmp_path) as port:
        client = await nats.connect(f"nats://{user}@127.0.0.1:{port}", error_cb=told)
        await client.publish(subject, b"")
        await within_patience(refused.wait())
        await client.close()
