"""
Who tells EVS, by the book of DESIGN 5: numbered senders keep what is not durable, plain ones repeat what has an id.

They repeat, split, merge and come too early as they like; what EVS answers is checked against what they know.
"""

from random import Random

from evs_server.errors import EventConflict, SequenceGap, StaleEpoch
from evs_server.ingest.sequencer import IngestState
from evs_server.model import Batch
from tests.simulation.exchange import Announcement
from tests.wire import a_batch, prices

BATCH_EVENTS_MAX = 12


class Numbered:
    """
    A sender with a numbering.

    Attributes:
        told: The events of the current epoch, in order; the first has sequence 1.
    """

    def __init__(self, name: str, random: Random) -> None:
        self.name = name
        self.epoch = 1
        self.told: list[Announcement] = []
        self._random = random

    def take_over(self, outgoing: list[Announcement]) -> None:
        """Number what is to be announced."""
        self.told += outgoing
        outgoing.clear()

    def begin_epoch(self, state: IngestState) -> bool:
        """Start the numbering again, if all that was sent before is durable; whether it did."""
        if not self.told or (self.epoch, len(self.told)) != (state.epoch, state.durable_sequence):
            return False
        self.epoch += self._random.choice([1, 1, 5])
        self.told = []
        return True

    def batch(self, state: IngestState, *, repeats: bool) -> tuple[Batch, list[Announcement]] | None:
        """
        The next events, perhaps with some that were sent before, as one batch; None if there are none.

        Args:
            state: What EVS says of this sender; of another epoch, nothing is applied.
        """
        applied = state.applied_sequence if state.epoch == self.epoch else 0
        durable = state.durable_sequence if state.epoch == self.epoch else 0
        first = self._random.choice([durable, self._random.randint(0, applied)]) if repeats else applied
        events = self.told[first : first + self._random.randint(1, BATCH_EVENTS_MAX)]
        if not events:
            return None
        runs = [event.run for event in events]
        return a_batch(*runs, first=first + 1, source=self.name, epoch=self.epoch), events

    def intrusion(self, state: IngestState) -> tuple[Batch, type[Exception]] | None:
        """A batch that must be refused as a whole, and how; None if there is nothing yet to be out of step with."""
        if state.epoch != self.epoch or not state.applied_sequence:
            return None
        # A symbol that nobody trades, at a price that nobody pays: other content than whatever was sent.
        strange = prices((77, self._random.randint(10**6, 10**7)))
        first, epoch, error = self._random.choice(
            [
                (state.applied_sequence + 2, self.epoch, SequenceGap),
                (state.applied_sequence, self.epoch, EventConflict),
                (1, self.epoch - 1, StaleEpoch),
            ]
        )
        return a_batch(strange, first=first, source=self.name, epoch=epoch), error


class Plain:
    """
    A sender without a numbering: each event alone, again and again until it has been answered.

    Args:
        disorderly: Whether it tells events in any order.
    """

    def __init__(self, name: str, random: Random, *, disorderly: bool) -> None:
        self.name = name
        self._random = random
        self._disorderly = disorderly
        self._history: list[Announcement] = []
        self._waiting: list[Announcement] = []

    @property
    def is_done(self) -> bool:
        """Whether everything has been answered."""
        return not self._waiting

    def take_over(self, outgoing: list[Announcement]) -> None:
        """Have more to tell."""
        self._history += outgoing
        self._waiting += outgoing
        outgoing.clear()

    def start_over(self) -> None:
        """EVS was gone, and does not say what it still knows: everything is told again, the oldest first."""
        self._waiting = list(self._history)

    def next(self, *, repeats: bool) -> tuple[Batch, Announcement] | None:
        """An event that has not been answered, or, with luck, one that has; None if there is none."""
        if repeats and self._history and self._random.random() < 0.3:
            answered = [event for event in self._history if not any(event is other for other in self._waiting)]
            event = self._random.choice(answered) if answered else None
        elif self._waiting:
            event = self._waiting[self._random.randrange(len(self._waiting)) if self._disorderly else 0]
        else:
            event = None
        return (a_batch(event.run), event) if event is not None else None

    def answered(self, event: Announcement) -> None:
        """An answer came through."""
        self._waiting = [other for other in self._waiting if other is not event]
