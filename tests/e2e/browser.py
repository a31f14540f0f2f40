"""A websocket client written from DESIGN 7 alone: what the frontend does, without a page."""

import itertools
import json
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.patience import PATIENCE_SECONDS

TEN_KEYS = {
    "account_id",
    "tick",
    "timestamp",
    "total_equity",
    "cash_balance",
    "position_value",
    "day_change",
    "day_change_percent",
    "unrealized_pnl",
    "realized_pnl",
}

Frame = dict[str, Any]


class Browser:
    """
    One socket. What comes is kept in order; nothing is dropped.

    Args:
        url: The bridge's page, ``http://...``.
    """

    def __init__(self, url: str) -> None:
        address = url.replace("http://", "ws://", 1).rstrip("/") + "/ws"
        self._opened = ExitStack()
        self.socket = self._opened.enter_context(connect(address, open_timeout=PATIENCE_SECONDS, close_timeout=1))
        self.pushes: list[Frame] = []
        self._id = itertools.count(1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.close()

    def ask(self, method: str, **params: object) -> Frame:
        """The answer to a request; pushes that come before it are kept."""
        number = next(self._id)
        return self.ask_raw(json.dumps({"id": number, "method": method, "params": params}), number)

    def ask_raw(self, message: str | bytes, number: object) -> Frame:
        """The answer that bears a number, to whatever was sent."""
        self.socket.send(message)
        while "stream" in (frame := self._receive()):
            self.pushes.append(frame)
        assert {"id", "result"} == set(frame) or {"id", "error"} == set(frame), frame
        assert number == frame["id"]
        return frame

    def log_in(self, token: str, account_id: int) -> None:
        """Present a token that must be good."""
        answer = self.ask("auth.jwt", token=token)
        assert {"authenticated": True, "account_id": account_id} == answer["result"]

    def next_equity(self) -> Frame:
        """The next equity frame, with its form checked; frames of other streams are passed over."""
        while True:
            frame = self.pushes.pop(0) if self.pushes else self._receive()
            if frame.get("stream") == "equity":
                assert {"stream", "data", "version", "snapshot", "conflated", "flags"} == set(frame)
                assert set(frame["data"]) == TEN_KEYS
                whole = {key: value for key, value in frame["data"].items() if key != "day_change_percent"}
                assert {int} == {type(value) for value in whole.values()}
                assert isinstance(frame["data"]["day_change_percent"], int | float)
                return frame

    def equity_until(self, version: int) -> list[Frame]:
        """The equity frames up to a version, that one included."""
        seen = [self.next_equity()]
        while seen[-1]["version"] < version:
            seen.append(self.next_equity())
        return seen

    def close_code(self) -> int:
        """The code with which the bridge closes the socket, whatever comes before."""
        with pytest.raises(ConnectionClosed) as caught:
            self._receive_all()
        assert caught.value.rcvd is not None, "the connection broke without a close"
        return caught.value.rcvd.code

    def next_status(self) -> Frame:
        """The next frame of the status stream; equity frames before it are passed over."""
        while "status" != (frame := self._receive())["stream"]:
            assert "equity" == frame["stream"]
        assert "data" not in frame, "the frontend reads `data` of every frame as equity"
        return frame

    def _receive_all(self) -> None:
        while True:
            self._receive()

    def _receive(self) -> Frame:
        frame: Frame = json.loads(self.socket.recv(timeout=PATIENCE_SECONDS))
        return frame
