"""Who watches the health, and takes nothing of what is said."""

import asyncio
from typing import Any

import pytest
from grpc_health.v1 import health_pb2

from evs_server.metrics import health as room
from evs_server.metrics.health import READINESS, STORAGE, Health
from tests.serving import within_patience

Response = health_pb2.HealthCheckResponse


class Readiness:
    """A judgement that a test changes."""

    def __init__(self) -> None:
        self.good = True

    @property
    def numbers_agree(self) -> bool:
        return self.good

    @property
    def is_storing(self) -> bool:
        return self.good

    def reasons(self) -> list[str]:
        return [] if self.good else ["stopping"]


class Stuck:
    """A call whose caller takes nothing."""

    def __init__(self) -> None:
        self.is_written_to = asyncio.Event()

    async def write(self, _: Any) -> None:
        self.is_written_to.set()
        await asyncio.Event().wait()


async def test_a_watcher_that_takes_nothing_holds_up_neither_the_end_nor_another_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(room, "TELL_SECONDS", 0.01)
    readiness, call = Readiness(), Stuck()
    health = Health(readiness)
    servicer: Any = health._servicer
    await within_patience(health.tell())
    watching = asyncio.create_task(servicer.Watch(health_pb2.HealthCheckRequest(service=STORAGE), call))
    await within_patience(call.is_written_to.wait())
    readiness.good = False
    await within_patience(health.tell())
    for name in READINESS:
        answer = await servicer.Check(health_pb2.HealthCheckRequest(service=name), None)
        assert Response.NOT_SERVING == answer.status
    watching.cancel()
    await asyncio.wait([watching])
