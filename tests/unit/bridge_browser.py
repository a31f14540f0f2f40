"""One browser, as the session's tests play it: a session, its door, and a time that the test sets."""

import json
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

from evs_server.bridge.frames import CloseCode
from evs_server.bridge.policy import Policy
from evs_server.bridge.session import Demand, Session
from evs_server.bridge.values import EquityData, EquityValue
from evs_server.errors import Unauthenticated
from evs_server.tokens import Grant

POLICY = Policy()


@dataclass
class Doorkeeper:
    """Tokens by what they give; ``room`` is how many sockets may join, ``bytes_max`` what large answers may hold."""

    grants: dict[str, Grant] = field(default_factory=lambda: {"good": Grant(7, 3_600_000)})
    room: int = 5
    bytes_max: int = 10_000_000
    bytes_held: int = 0

    def verify(self, token: str) -> Grant:
        if token not in self.grants:
            raise Unauthenticated("token is not valid")
        return self.grants[token]

    def admit(self, account_id: int) -> bool:
        assert account_id in {grant.account_id for grant in self.grants.values()}
        self.room -= 1
        return self.room >= 0

    def reserve(self, byte_count: int) -> bool:
        fits = self.bytes_held + byte_count <= self.bytes_max
        self.bytes_held += byte_count if fits else 0
        return fits

    def release(self) -> None:
        self.bytes_held = 0


class Browser:
    """A session, and the time."""

    def __init__(self, door: Doorkeeper | None = None, policy: Policy = POLICY) -> None:
        self.now = 100.0
        self.door = door or Doorkeeper()
        self.session = Session(self.door, policy, self.now)
        self.next_id = 0

    def send(self, message: str | bytes) -> list[Demand]:
        return self.session.receive(message, self.now)

    def call(self, method: str, **params: object) -> tuple[list[Demand], list[dict[str, Any]]]:
        self.next_id += 1
        demands = self.send(json.dumps({"id": self.next_id, "method": method, "params": params}))
        return demands, self.frames()

    def frames(self) -> list[dict[str, Any]]:
        taken = []
        while (frame := self.session.take(self.now)) is not None:
            taken.append(json.loads(frame))
        return taken

    def login(self, token: str = "good") -> "Browser":
        self.call("auth.jwt", token=token)
        return self

    def follow(self) -> "Browser":
        self.login().call("equity.subscribe")
        return self

    @property
    def closed(self) -> CloseCode | None:
        self.frames()
        return self.session.close.code if self.session.close else None


def value(version: int, *, snapshot: bool = False, conflated: int = 0) -> EquityValue:
    return EquityValue(EquityData(7, version, 1, version, version, 0, 0, 0.0, 0, 0), version, snapshot, conflated, ())


STEPS = st.one_of(
    st.tuples(st.just("deliver"), st.integers(1, 30)),
    st.tuples(st.just("wait"), st.sampled_from([0.0, 0.1, 0.25, 3.0])),
    st.tuples(st.just("take"), st.just(0)),
    st.tuples(st.just("stale"), st.integers(1, 9)),
    st.tuples(st.just("live"), st.just(0)),
    st.tuples(st.just("subscribe"), st.just(0)),
    st.tuples(st.just("unsubscribe"), st.just(0)),
)
