"""
Who is connected, what is held for them, and whether there is room for more. Pure.

Lives here: counts of sockets by address and by account, and of the bytes of large answers. Not here: tokens
(``tokens``), sockets (``server``). Whoever is let in is let out again, exactly once: the counts return to zero and
nothing is kept of who has left.
"""

from collections import Counter
from typing import TypeVar

from evs_server.bridge.policy import Policy

Key = TypeVar("Key")


class Admission:
    """
    Counts of open sockets and of what is held for them.

    Args:
        policy: The bounds.

    Attributes:
        connection_count: Sockets that are in.
        answer_bytes: What large answers hold until they have been taken.
    """

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self.connection_count = 0
        self.answer_bytes = 0
        self._by_address: Counter[str] = Counter()
        self._by_account: Counter[int] = Counter()

    def refusal(self, address: str) -> str | None:
        """Why one more socket from an address would be refused; None if it would not."""
        if self.connection_count >= self._policy.connections_max:
            return f"{self.connection_count} connections are open: the bound is {self._policy.connections_max}"
        if self._by_address[address] >= self._policy.connections_per_address:
            bound = self._policy.connections_per_address
            return f"{self._by_address[address]} connections from {address} are open: the bound is {bound}"
        return None

    def enter(self, address: str) -> bool:
        """Let a socket from an address in; False, and nothing counted, if it would be refused."""
        if self.refusal(address) is not None:
            return False
        self._by_address[address] += 1
        self.connection_count += 1
        return True

    def leave(self, address: str) -> None:
        """Let a socket that entered out."""
        _drop(self._by_address, address)
        self.connection_count -= 1

    def join(self, account_id: int) -> bool:
        """Let an entered socket take an account; False, and nothing counted, if the account has too many."""
        if self._by_account[account_id] >= self._policy.connections_per_account:
            return False
        self._by_account[account_id] += 1
        return True

    def part(self, account_id: int) -> None:
        """Let a socket that joined give its account back."""
        _drop(self._by_account, account_id)

    def reserve(self, byte_count: int) -> bool:
        """Hold an answer of this size; False, and nothing counted, if those that wait already fill the room."""
        if self.answer_bytes + byte_count > self._policy.answer_bytes_max:
            return False
        self.answer_bytes += byte_count
        return True

    def release(self, byte_count: int) -> None:
        """Count what was reserved as taken."""
        assert byte_count <= self.answer_bytes, "released more than was reserved"
        self.answer_bytes -= byte_count


def _drop(counts: Counter[Key], key: Key) -> None:
    assert counts[key] > 0, "left without having entered"
    counts[key] -= 1
    if not counts[key]:
        del counts[key]
