"""
What a sender has accepted and EVS has not yet made durable, numbered and in order. Pure: it sends nothing itself.

Invariants, with every sequence counted from 1 within one epoch:

- ``durable <= taken <= sent <= accepted`` and ``durable <= applied <= sent``;
- exactly the records ``durable + 1 .. accepted`` are held, so that after any disconnect they can be sent again;
- ``take`` hands them out in order, without a gap, and never parts a block unless EVS already has.

Worked example: accept a, b, c (1 to 3); ``take(2)`` gives a, b from sequence 1; EVS makes 1 durable and the line
breaks; ``rewind(1, 1)``; ``take(10)`` gives b, c from sequence 2.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from evs_client.errors import HistoryLost, SequenceConflict


@dataclass(frozen=True, slots=True)
class OutboxBatch:
    """Records to be sent in one request; the first has ``first_sequence``, the rest follow by one."""

    first_sequence: int
    records: Sequence[bytes]


class Outbox:
    """
    A bounded room for records between their acceptance and their durability.

    Args:
        capacity: Records held at most, positive.
    """

    def __init__(self, capacity: int) -> None:
        if capacity < 1:
            raise ValueError(f"an outbox of {capacity} events can hold nothing: expected 1 or more")
        self.capacity = capacity
        self._records: list[bytes] = []
        self._durable = 0
        self._applied = 0
        self._taken = 0
        self._sent = 0
        # Blocks of two or more records that are not wholly durable, ascending; they never overlap.
        self._block_first: list[int] = []
        self._block_last: list[int] = []

    @property
    def accepted_sequence(self) -> int:
        """The last sequence given out; 0 before the first."""
        return self._durable + len(self._records)

    @property
    def applied_sequence(self) -> int:
        """How far EVS has applied, as of its last answer. Falls if EVS crashes."""
        return self._applied

    @property
    def durable_sequence(self) -> int:
        """How far EVS has committed. Never falls."""
        return self._durable

    @property
    def sent_sequence(self) -> int:
        """The last sequence that was ever taken to be sent."""
        return self._sent

    @property
    def unsent_count(self) -> int:
        """How many records wait to be taken, those to be sent again included."""
        return self.accepted_sequence - self._taken

    def __len__(self) -> int:
        return len(self._records)

    def has_room(self, count: int) -> bool:
        """Whether so many records can be accepted now."""
        return len(self._records) + count <= self.capacity

    def start_after(self, sequence: int) -> None:
        """Number from ``sequence + 1``: the ones before are known to be durable. Only before anything was taken."""
        assert self._sent == 0, "events already under way cannot be renumbered"
        self._block_first = [first - self._durable + sequence for first in self._block_first]
        self._block_last = [last - self._durable + sequence for last in self._block_last]
        self._durable = self._applied = self._taken = self._sent = sequence

    def accept(self, record: bytes) -> None:
        """Keep one record, numbered next."""
        assert len(self._records) < self.capacity
        self._records.append(record)

    def accept_block(self, records: Sequence[bytes]) -> None:
        """Keep records, numbered next, that belong into one request."""
        assert self.has_room(len(records))
        if len(records) > 1:
            self._block_first.append(self.accepted_sequence + 1)
            self._block_last.append(self.accepted_sequence + len(records))
        self._records.extend(records)

    def take(self, limit: int) -> OutboxBatch | None:
        """
        The next records to send, or None if there are none.

        Args:
            limit: Records at most, positive; only a block longer than that exceeds it, and then comes alone.
        """
        first = self._taken + 1
        last = min(self._taken + limit, self.accepted_sequence)
        if last < first:
            return None
        last = self._last_uncut(first, last)
        self._taken = last
        self._sent = max(self._sent, last)
        return OutboxBatch(first, self._records[first - self._durable - 1 : last - self._durable])

    def record_at(self, sequence: int) -> bytes | None:
        """The record of a sequence, or None if it is not held (any more)."""
        index = sequence - self._durable - 1
        return self._records[index] if 0 <= index < len(self._records) else None

    def acknowledge(self, applied: int, durable: int) -> None:
        """
        Take in how far EVS has come, and let go of what is durable.

        Raises:
            SequenceConflict: If EVS has events that were never sent from here.
        """
        self._check_sent(applied, durable)
        self._applied = max(applied, self._durable)
        if durable <= self._durable:
            return
        del self._records[: durable - self._durable]
        self._durable = durable
        self._taken = max(self._taken, durable)
        done = bisect_right(self._block_last, durable)
        del self._block_first[:done], self._block_last[:done]

    def rewind(self, applied: int, durable: int) -> int:
        """
        Take in how far EVS has come, and begin again after what is durable.

        Returns:
            How many records will be sent once more.

        Raises:
            SequenceConflict: If EVS has events that were never sent from here.
            HistoryLost: If EVS has less than it once made durable.
        """
        if durable < self._durable:
            raise HistoryLost(
                f"EVS has sequences up to {durable} durable, but once had up to {self._durable}: "
                f"{durable + 1} to {self._durable} are lost, and no longer in the outbox"
            )
        self.acknowledge(applied, durable)
        again = self._sent - durable
        self._taken = durable
        return again

    def _check_sent(self, applied: int, durable: int) -> None:
        if not durable <= applied <= self._sent:
            raise SequenceConflict(
                f"EVS has applied sequences up to {applied} and made durable up to {durable}, "
                f"but only those up to {self._sent} were sent from here"
            )

    def _last_uncut(self, first: int, last: int) -> int:
        block = bisect_right(self._block_last, last)
        if block == len(self._block_last) or self._block_first[block] > last:
            return last
        # The cut would fall inside this block: leave it to the next batch, unless it is where this one begins.
        return self._block_first[block] - 1 if self._block_first[block] > first else self._block_last[block]
