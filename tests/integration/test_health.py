"""What health says of a running EVS, name by name, and how `evs doctor` puts it in words."""

import logging
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from evs.v1 import evs_pb2 as pb

from evs_server import config
from evs_server.doctor import Finding, examine
from evs_server.metrics.health import ADMIN_SERVICE, IDENTITY, LIVENESS, SERVICE, STORAGE
from evs_server.telemetry.trace import current_trace_id
from tests.builders import ALICE
from tests.integration.running import Evs, Exchange, entered, exchange_at, running
from tests.patience import eventually_true
from tests.serving import within_patience
from tests.watching import page
from tests.wire import cash, ticks

NAMES = ("", SERVICE, ADMIN_SERVICE, STORAGE, IDENTITY, LIVENESS)


@pytest.fixture
async def exchange(database: str) -> AsyncIterator[Exchange]:
    async with exchange_at(database) as exchange:
        await exchange.register({ALICE: 1_000})
        yield exchange


async def health(evs: Evs) -> dict[str, bool]:
    return {name: await evs.is_healthy(name) for name in NAMES}


async def findings(evs: Evs, database: str, directory: Path) -> dict[str, Finding]:
    """What the doctor says of it, by subject."""
    settings = config.load(server=evs.application.address, database_url=database, data_dir=directory)
    return {found.subject: found for found in await examine(settings)}


@pytest.mark.usefixtures("exchange")
async def test_an_evs_that_serves_is_healthy_in_all_respects(database: str, tmp_path: Path) -> None:
    async with running(database, tmp_path) as evs:
        assert dict.fromkeys(NAMES, True) == await health(evs)
        found = await findings(evs, database, tmp_path)
        assert [] == [subject for subject, finding in found.items() if not finding.ok]


@pytest.mark.usefixtures("exchange")
async def test_one_whose_numbers_contradict_each_other_lives_on_and_is_not_ready(database: str, tmp_path: Path) -> None:
    """It is not to be restarted by a machine: a person is to look at it first, and is told so."""
    async with running(database, tmp_path, metrics_listen="127.0.0.1:0") as evs:
        rooms = evs.application._collector._rooms
        assert rooms is not None
        rooms.engine._book.accounts.cash_cents[0] += 1
        await evs.send(cash((ALICE, 5)), ticks(1))

        async def noticed() -> bool:
            return not await evs.is_healthy()

        assert await eventually_true(noticed, "health falls")
        assert dict.fromkeys(NAMES, False) | {LIVENESS: True, STORAGE: True} == await health(evs)
        assert evs.application.metrics_address is not None
        status, reasons = await page(evs.application.metrics_address, "/readyz")
        assert (503, "identity") == (status, reasons.partition(":")[0])
        assert 200 == (await page(evs.application.metrics_address, "/livez"))[0]
        found = await findings(evs, database, tmp_path)
        assert {"identity", "readiness"} == {subject for subject, finding in found.items() if not finding.ok}
        assert "do not pay out" in found["identity"].text


@pytest.mark.usefixtures("exchange")
async def test_one_that_follows_says_so(database: str, tmp_path: Path) -> None:
    """Of two on one database the second waits; it is alive, and the doctor names the cause."""
    other = tmp_path / "other"
    other.mkdir()
    async with running(database, tmp_path), entered(database, other, metrics_listen="127.0.0.1:0") as second:
        address = second.application.metrics_address
        assert address is not None

        async def follows() -> bool:
            return (await page(address, "/readyz"))[1].startswith("following")

        assert await eventually_true(follows, "it follows")
        assert dict.fromkeys(NAMES, False) | {LIVENESS: True, IDENTITY: True} == await health(second)
        found = await findings(second, database, other)
        assert not found["EVS"].ok
        assert "is there but does not serve" in found["EVS"].text
        assert "leads on its database" in found["EVS"].text


@pytest.mark.usefixtures("exchange")
async def test_lines_written_for_a_call_carry_its_callers_trace(
    database: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """From the metadata of the RPC to the line: here that of a failure which nobody expected."""
    trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"
    seen = []

    class Noting(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append((record.getMessage().partition(" in ")[0], current_trace_id()))

    async with running(database, tmp_path) as evs:
        handler = Noting()
        logging.getLogger("evs_server.rpc_status").addHandler(handler)
        # What no code of ours does: a room that is missing is an error that nobody expects.
        gate = evs.application._servicer._gate
        del evs.application._servicer._gate
        request = pb.GetIngestStateRequest(source="em")
        metadata = (("traceparent", f"00-{trace_id}-00f067aa0ba902b7-01"),)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await within_patience(evs.stub.GetIngestState(request, metadata=metadata))
        evs.application._servicer._gate = gate
        logging.getLogger("evs_server.rpc_status").removeHandler(handler)
    assert grpc.StatusCode.INTERNAL == refused.value.code()
    assert [("unexpected error", trace_id)] == seen
    assert "AttributeError" in caplog.text
