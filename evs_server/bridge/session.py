"""
The state machine of one browser: what it asks and what EVS says go in, frames and demands come out. Pure.

Lives here: who is authenticated as what, what is sent when, what a slow reader skips, when a socket is closed. Not
here: sockets and tasks (``connection``), JSON (``frames``), EVS (``upstream``). Times are handed in, in seconds of a
clock that never steps back.

    event                                            what may follow
    receive(message, now)    the browser sent        answers, demands
    fulfil(read, outcome)    a demanded read is in   one answer
    deliver(value)           EVS has a new value     a frame, now or at the next push time
    passes(value, now)       the same, if nothing    the value's frame, which others are sent, too
                             else is to be sent
    set_stale / set_live     EVS lost, found again   a status frame
    end(code, reason)        whoever runs us         the close

    take(now) gives the next frame to send, one at a time, so that what is sent is decided when the socket can take it.

Invariants: one pending value at most, the newest; versions only grow; a browser is never told of another's account.
"""

from collections import deque
from dataclasses import dataclass
from math import inf
from typing import Final

from evs_server.bridge import frames, requests
from evs_server.bridge.frames import CloseCode
from evs_server.bridge.policy import ANSWERS_QUEUED_MAX, CLOSE_REASON_BYTES_MAX, WRITE_BYTES_MAX, Policy
from evs_server.bridge.ports import Door
from evs_server.bridge.rates import Rates
from evs_server.bridge.requests import (
    Authenticate,
    KnownRequest,
    Malformed,
    Ping,
    ReadRequest,
    Request,
    Subscribe,
    Unfit,
    Unsubscribe,
)
from evs_server.bridge.values import EquityValue, Failure, Outcome
from evs_server.errors import InvalidRequest, Overloaded, Unauthenticated


@dataclass(frozen=True, slots=True)
class Follow:
    """Deliver this account's values from now on."""

    account_id: int


@dataclass(frozen=True, slots=True)
class Unfollow:
    """Deliver them no longer."""

    account_id: int


@dataclass(frozen=True, slots=True)
class Read:
    """Ask EVS, then ``fulfil``."""

    request: ReadRequest
    account_id: int


Demand = Follow | Unfollow | Read


@dataclass(frozen=True, slots=True)
class Close:
    """How the socket is to be closed once the answers are out."""

    code: CloseCode
    reason: str


NOT_AUTHENTICATED: Final = Failure(Unauthenticated.reason, "not authenticated: send auth.jwt with a token first")
NO_ROOM: Final = Failure(Overloaded.reason, "too many large answers are under way: try again")
OTHER_ACCOUNT: Final = Failure("PERMISSION_DENIED", "this socket belongs to another account: open a new one")


class Session:
    """
    One browser, from its opening handshake to its close.

    Args:
        door: Checks tokens.
        policy: Bounds and times.
        now: When the socket was opened.
    """

    def __init__(self, door: Door, policy: Policy, now: float) -> None:
        self._door = door
        self._policy = policy
        self._answers: deque[bytes] = deque()
        self._close: Close | None = None
        self._account_id: int | None = None
        self._expires = inf
        self._deadline = now + policy.auth_s
        self._subscribed = False
        # Values: the newest one seen, and whether it is still to be sent and as what.
        self._latest: EquityValue | None = None
        self._pending = False
        self._snapshot_due = False
        self._conflated = 0
        self._next_push = now
        # Status: since when EVS is lost, and what of that the browser knows.
        self._stale_since_ms: int | None = None
        self._told_stale_ms: int | None = None
        self._rates = Rates(policy, now)
        self._reserved = False

    @property
    def close(self) -> Close | None:
        """How the socket is to be closed, once ``take`` has nothing more to send; None while it stays open."""
        return self._close

    @property
    def account_id(self) -> int | None:
        """Whose session this is; None before authentication."""
        return self._account_id

    @property
    def owes_answer(self) -> bool:
        """True while an answer waits to be taken: no further request should be read."""
        return bool(self._answers)

    # --- what the browser sends ----------------------------------------------------------------------------------

    def receive(self, message: str | bytes, now: float) -> list[Demand]:
        """
        Take up one message.

        Args:
            message: Text, or bytes for a binary message.
            now: When it came.

        Returns:
            What is to be done for it, in order.
        """
        if self._close is not None:
            return []
        assert len(self._answers) < ANSWERS_QUEUED_MAX, "read on before the answers had left"
        if isinstance(message, bytes):
            self.end(CloseCode.UNSUPPORTED_DATA, "binary messages are not understood: send JSON as text")
        elif (retry_ms := self._rates.spend(now)) is not None:
            rate = self._policy.messages_per_minute
            self.end(CloseCode.RATE_LIMITED, f"more than {rate} messages a minute: retry_ms={retry_ms}")
        else:
            return self._answer(requests.parse(message), now)
        return []

    def _answer(self, request: Request, now: float) -> list[Demand]:
        match request:
            case Malformed():
                self._refuse_malformed(request, now)
            case Authenticate():
                self._authenticate(request, now)
            case _ if self._account_id is None:
                self._answers.append(frames.refusal(request.id, NOT_AUTHENTICATED))
            case _:
                return self._serve(request, self._account_id, now)
        return []

    def _serve(self, request: KnownRequest, account_id: int, now: float) -> list[Demand]:
        match request:
            case Subscribe():
                return self._subscribe(request, account_id, now)
            case Unsubscribe():
                return self._unsubscribe(request, account_id)
            case Ping():
                self._answers.append(frames.pong(request.id))
            case Unfit():
                # Not counted as malformed: a chart's mistake must not end the stream. The rate of messages bounds it.
                self._answers.append(frames.refusal(request.id, Failure(InvalidRequest.reason, request.message)))
            case _:
                return [Read(request, account_id)]
        return []

    def _refuse_malformed(self, request: Malformed, now: float) -> None:
        self._answers.append(frames.refusal(request.id, Failure(InvalidRequest.reason, request.message)))
        if not self._rates.forgive(now):
            allowed, window_s = self._policy.malformed_max, self._policy.malformed_window_s
            self.end(CloseCode.POLICY_VIOLATION, f"more than {allowed} malformed requests in {window_s:g} s")

    def _authenticate(self, request: Authenticate, now: float) -> None:
        try:
            grant = self._door.verify(request.token)
        except Unauthenticated as error:
            self._answers.append(frames.refusal(request.id, Failure(error.reason, error.message)))
            self.end(CloseCode.UNAUTHENTICATED, error.message)
            return
        if self._account_id not in (None, grant.account_id):
            self._answers.append(frames.refusal(request.id, OTHER_ACCOUNT))
            self.end(CloseCode.FORBIDDEN, OTHER_ACCOUNT.message)
            return
        if self._account_id is None and not self._door.admit(grant.account_id):
            bound = self._policy.connections_per_account
            message = f"account {grant.account_id} already has {bound} connections"
            self._answers.append(frames.refusal(request.id, Failure(Overloaded.reason, message)))
            self.end(CloseCode.TOO_MANY_CONNECTIONS, message)
            return
        self._account_id = grant.account_id
        self._expires = now + max(grant.valid_ms, 0) / 1_000
        self._deadline = self._expires + self._policy.refresh_grace_s
        self._answers.append(frames.authenticated(request.id, grant.account_id))

    def _subscribe(self, request: Subscribe, account_id: int, now: float) -> list[Demand]:
        if not self._rates.subscribe(now):
            bound = self._policy.subscribes_per_second
            message = f"more than {bound} subscribes in a second: try again"
            self._answers.append(frames.refusal(request.id, Failure(Overloaded.reason, message)))
            return []
        self._answers.append(frames.subscribed(request.id, now=True))
        self._snapshot_due = True
        self._told_stale_ms = None
        if self._subscribed:
            # Asked again: the value it has is what it would be sent.
            self._pending = self._latest is not None
            return []
        self._subscribed = True
        return [Follow(account_id)]

    def _unsubscribe(self, request: Unsubscribe, account_id: int) -> list[Demand]:
        self._answers.append(frames.subscribed(request.id, now=False))
        if not self._subscribed:
            return []
        # The newest version seen is kept: a later snapshot must not be older.
        self._subscribed = self._pending = self._snapshot_due = False
        self._conflated = 0
        self._stale_since_ms = self._told_stale_ms = None
        return [Unfollow(account_id)]

    # --- what EVS says -------------------------------------------------------------------------------------------

    def deliver(self, value: EquityValue) -> None:
        """Take a value of the followed account; one that is not newer than the last is dropped."""
        if not self._subscribed or self._close is not None:
            return
        seen = self._latest.version if self._latest is not None else -1
        if value.version < seen or (value.version == seen and not self._snapshot_due):
            return
        self._conflated += value.conflated + (1 if self._pending else 0)
        self._snapshot_due = self._snapshot_due or value.snapshot
        self._latest = value
        self._pending = True

    def passes(self, value: EquityValue, now: float) -> bool:
        """
        Take a value that is due as a plain change while nothing else is; False, and nothing taken, if it is not so.

        What ``deliver`` and ``take`` come to for a browser that keeps up, which is the way of most values, in one look
        and without the frame: whoever runs us sends the one that all sockets of the account are sent.
        """
        if (
            self._pending
            or self._snapshot_due
            or self._answers
            or self._reserved
            or self._stale_since_ms is not None
            or self._told_stale_ms is not None
            or self._close is not None
            or now < self._next_push
            or now >= self._expires
            or now >= self._deadline
            or not self._subscribed
            or value.snapshot
            or self._latest is None
            or value.version <= self._latest.version
        ):
            return False
        self._latest = value
        self._next_push = now + self._policy.push_interval_s
        return True

    def set_stale(self, since_ms: int) -> None:
        """Take it that EVS cannot be heard since a unix time in milliseconds."""
        if self._subscribed:
            self._stale_since_ms = since_ms

    def set_live(self) -> None:
        """Take it that EVS is heard again."""
        self._stale_since_ms = None

    def fulfil(self, read: Read, outcome: Outcome) -> None:
        """Answer a demanded read; a large answer only if there is room to hold it until it is taken."""
        request_id = read.request.id
        match outcome:
            case EquityValue():
                answer = frames.summary(request_id, outcome)
            case Failure():
                answer = frames.refusal(request_id, outcome)
            case _:
                answer = frames.result(request_id, outcome)
        if len(answer) > WRITE_BYTES_MAX:
            if not self._door.reserve(len(answer)):
                answer = frames.refusal(request_id, NO_ROOM)
            else:
                self._reserved = True
        self._answers.append(answer)

    def end(self, code: CloseCode, reason: str) -> None:
        """Decide the close; the first decision stands. Answers already owed are still sent."""
        if self._close is None:
            self._close = Close(code, reason.encode()[:CLOSE_REASON_BYTES_MAX].decode(errors="ignore"))

    # --- what is sent --------------------------------------------------------------------------------------------

    def take(self, now: float) -> bytes | None:
        """
        The next frame to send, if one is due.

        Args:
            now: When it will be sent.

        Returns:
            The frame; None if nothing is due before ``due``, or the socket is to be closed.
        """
        self._keep_time(now)
        if self._answers:
            return self._answers.popleft()
        if self._reserved:
            # Whoever asks for a frame has sent the one before.
            self._reserved = False
            self._door.release()
        if self._close is not None:
            return None
        return self._take_live() or self._take_value(now) or self._take_stale() or self._take_expiring(now)

    def due(self) -> float:
        """When ``take`` may have something to send, or a close, though no event came."""
        return min(self._deadline, self._expires, self._next_push if self._pending else inf)

    def _keep_time(self, now: float) -> None:
        if now < self._deadline:
            return
        if self._account_id is None:
            self.end(CloseCode.NO_AUTH, f"no authentication within {self._policy.auth_s:g} s")
        else:
            self.end(CloseCode.UNAUTHENTICATED, "token has expired")

    # A loss is told after the value that was still to be sent, a recovery before the next: what a browser gets after
    # "stale" is always newer than the loss.

    def _take_live(self) -> bytes | None:
        if self._stale_since_ms is not None or self._told_stale_ms is None:
            return None
        self._told_stale_ms = None
        return frames.live()

    def _take_value(self, now: float) -> bytes | None:
        lost = self._stale_since_ms is not None
        if not self._pending or not (self._snapshot_due or lost or now >= self._next_push):
            return None
        assert self._latest is not None
        snapshot = self._snapshot_due
        frame = frames.equity(self._latest, snapshot=snapshot, conflated=0 if snapshot else self._conflated)
        self._pending = self._snapshot_due = False
        self._conflated = 0
        self._next_push = now + self._policy.push_interval_s
        return frame

    def _take_stale(self) -> bytes | None:
        if self._stale_since_ms == self._told_stale_ms or self._stale_since_ms is None:
            return None
        self._told_stale_ms = self._stale_since_ms
        return frames.stale(self._stale_since_ms)

    def _take_expiring(self, now: float) -> bytes | None:
        if now < self._expires:
            return None
        self._expires = inf
        return frames.expiring(int((self._deadline - now) * 1_000))
