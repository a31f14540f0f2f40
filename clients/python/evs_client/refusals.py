"""What EVS refused, each once, and what each reason means for the sender. Pure."""

from collections import deque
from dataclasses import dataclass
from enum import Enum, auto

from evs_client.encode import Event


class Consequence(Enum):
    """What a refusal means for the events after it (the contract's ``Refusal.reason``)."""

    GO_ON = auto()  # the sequence is consumed and the event is lost for good
    SEND_AGAIN = auto()  # nothing from here on was applied: resume after what is durable, later
    GIVE_UP = auto()  # another numbering of the same source is in the way


CONSEQUENCE_OF_REASON = {
    "INVALID_ARGUMENT": Consequence.GO_ON,
    "OUT_OF_RANGE": Consequence.GO_ON,
    "NOT_FOUND": Consequence.GO_ON,
    "ABORTED": Consequence.SEND_AGAIN,
    "UNAVAILABLE": Consequence.SEND_AGAIN,
    "RESOURCE_EXHAUSTED": Consequence.SEND_AGAIN,
    "ALREADY_EXISTS": Consequence.GIVE_UP,
    "FAILED_PRECONDITION": Consequence.GIVE_UP,
}
"""A reason not listed is a newer EVS's: giving up loudly is safer than guessing."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """
    One event that EVS refused and that changed nothing.

    Attributes:
        sequence: Its number.
        reason: The gRPC status a unary call would have been answered with, such as ``NOT_FOUND``.
        message: The same in words, with every number.
        event: The event itself; None if EVS made it durable before it was asked for.
    """

    sequence: int
    reason: str
    message: str
    event: Event | None


class RefusalLog:
    """
    The newest refusals, each noted once although events are sent again.

    Args:
        kept: How many are kept for reading.
    """

    def __init__(self, kept: int) -> None:
        self.newest: deque[Refusal] = deque(maxlen=kept)
        self.count = 0
        # Sequences that may still be sent, and refused, again; bounded by the outbox.
        self._noted: set[int] = set()

    def note(self, refusal: Refusal) -> bool:
        """Keep a refusal; False if this sequence was noted before."""
        if refusal.sequence in self._noted:
            return False
        self._noted.add(refusal.sequence)
        self.newest.append(refusal)
        self.count += 1
        return True

    def forget_durable(self, durable_sequence: int) -> None:
        """Let go of what will not be sent again."""
        if self._noted:
            self._noted = {sequence for sequence in self._noted if sequence > durable_sequence}
