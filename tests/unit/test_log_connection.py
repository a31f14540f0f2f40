"""What a connection to the log makes of the client library's ways."""

import asyncio

import pytest

from evs_server.log.connect import Connection


async def test_a_cancellation_that_meets_an_answer_is_not_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever stops a reader waits for its end, which would never come."""
    connection, answer = Connection("nowhere"), asyncio.get_running_loop().create_future()

    async def request(*_: object, **__: object) -> object:
        return await asyncio.wait_for(answer, 60)  # as the library waits

    monkeypatch.setattr(connection.client, "request", request)
    monkeypatch.setattr(Connection, "is_up", property(lambda _: True))
    asking = asyncio.create_task(connection.request("subject", b""))
    await asyncio.sleep(0)
    answer.set_result(None)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
