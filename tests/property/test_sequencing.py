"""The sequencer against a model that remembers every content of every epoch, through any interleaving of everything."""

from dataclasses import dataclass, field

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from evs_server import limits
from evs_server.errors import EventConflict, SequenceGap, StaleEpoch
from evs_server.ingest import sequencer as module
from evs_server.ingest.sequencer import IngestState, Sequencer
from evs_server.model import Watermark
from evs_server.store.merge import newest_watermarks
from tests.wire import a_batch, ticks

KEPT = 8
DIGESTS_KEPT = limits.DIGESTS_KEPT
SOURCES = ("em", "other")


@dataclass
class Sender:
    """What one source has sent in its epoch: content by sequence, from 1."""

    epoch: int = 0
    contents: list[int] = field(default_factory=list)
    durable: int = 0
    oldest_kept: int = 1

    @property
    def applied(self) -> int:
        return len(self.contents)

    def must_remember(self, sequence: int) -> bool:
        """DESIGN 5: the last ones, and all that are not durable. What this process never knew it cannot remember."""
        return sequence >= self.oldest_kept and (sequence > self.applied - KEPT or sequence > self.durable)


class Sequencing(RuleBasedStateMachine):
    """Senders that repeat, contradict and skip; flushes that commit, in order and late; restarts."""

    @initialize()
    def start(self) -> None:
        # Small enough that histories of thirty steps run into it.
        vars(module)["DIGESTS_KEPT"] = KEPT
        self.sequencer = Sequencer()
        self.senders: dict[str, Sender] = {}
        self.captured: list[tuple[Watermark, ...]] = []
        self.committed: tuple[Watermark, ...] = ()

    @rule(
        source=st.sampled_from(SOURCES),
        back=st.integers(-2, 12),
        size=st.one_of(st.integers(0, 12), st.just(150)),  # more than the least room for contents, now and then
        salt=st.one_of(st.just(0), st.tuples(st.integers(0, 11), st.integers(1, 2))),
        epoch_step=st.sampled_from([0, 0, 0, 0, 0, 1, 3, -1]),
    )
    def send(self, source: str, back: int, size: int, salt: int | tuple[int, int], epoch_step: int) -> None:
        """A batch that begins ``back`` before what is next, one of its events with other content than before."""
        sender = self.senders.get(source)
        known = sender or Sender(epoch=1)
        epoch = max(known.epoch + epoch_step, 0)
        applied = known.applied if epoch == known.epoch else 0
        first = max(applied + 1 - back, 1)
        # Content follows from the sequence, so that repeats repeat; the salt makes one of them another.
        contents = [10 * (first + index) for index in range(size)]
        if isinstance(salt, tuple) and salt[0] < size:
            contents[salt[0]] += salt[1]
        batch = a_batch(ticks(*contents), first=first, source=source, epoch=epoch)
        admission = self.sequencer.admit(batch)
        if epoch < known.epoch and sender is not None:
            assert isinstance(admission.error, StaleEpoch)
        elif first > applied + 1:
            assert isinstance(admission.error, SequenceGap)
            assert str(applied + 1) == admission.error.metadata["expected"]
        else:
            self._send_in_turn(source, known if epoch == known.epoch else Sender(epoch=epoch), first, contents)
            return
        assert (0, 0) == (admission.first_new, admission.end)

    def _send_in_turn(self, source: str, sender: Sender, first: int, contents: list[int]) -> None:
        batch = a_batch(ticks(*contents), first=first, source=source, epoch=sender.epoch)
        admission = self.sequencer.admit(batch)
        known = contents[: max(sender.applied + 1 - first, 0)]
        differing = [index for index, content in enumerate(known) if content != sender.contents[first - 1 + index]]
        told = [index for index in differing if sender.must_remember(first + index)]
        if told:
            assert isinstance(admission.error, EventConflict)
        if admission.error is not None:
            assert admission.first_new == admission.end
            assert admission.end in differing
            return
        assert (len(known), len(contents)) == (admission.first_new, admission.end)
        self.sequencer.advance(batch, admission.first_new, admission.end)
        if len(contents) > len(known):
            sender.contents += contents[len(known) :]
            self.senders[source] = sender

    @rule()
    def capture(self) -> None:
        self.captured.append(self.sequencer.capture())

    @precondition(lambda self: self.captured)
    @rule()
    def commit(self) -> None:
        watermarks = self.captured.pop(0)
        self.committed = newest_watermarks([*self.committed, *watermarks])
        self.sequencer.mark_durable(watermarks)
        for watermark in watermarks:
            sender = self.senders[watermark.source]
            if sender.epoch == watermark.epoch:
                sender.durable = watermark.applied_sequence

    @rule()
    def restart(self) -> None:
        """What was not committed never happened."""
        self.sequencer = Sequencer()
        self.sequencer.restore(self.committed)
        self.captured = []
        senders = {}
        for watermark in self.committed:
            before = self.senders[watermark.source]
            contents = before.contents if before.epoch == watermark.epoch else self.contents_of(watermark)
            senders[watermark.source] = Sender(
                watermark.epoch,
                contents[: watermark.applied_sequence],
                watermark.applied_sequence,
                watermark.first_sequence,
            )
        self.senders = senders

    def contents_of(self, watermark: Watermark) -> list[int]:
        """What an epoch that was followed by another, which was never committed, had sent: looked up by its digests."""
        found = {}
        for sequence in range(1, watermark.applied_sequence + 1):
            for salt in range(3):
                content = 10 * sequence + salt
                digest = a_batch(ticks(content)).digest.item(0)
                found[sequence, digest] = content
        digests = watermark.digest.tolist()
        forgotten = watermark.first_sequence - 1
        return [0] * forgotten + [
            found[sequence, digest] for sequence, digest in enumerate(digests, watermark.first_sequence)
        ]

    @invariant()
    def watermarks_are_the_models(self) -> None:
        for source in SOURCES:
            sender = self.senders.get(source, Sender())
            assert IngestState(sender.epoch, sender.applied, sender.durable) == self.sequencer.state(source)
            assert sender.durable <= sender.applied

    def teardown(self) -> None:
        vars(module)["DIGESTS_KEPT"] = DIGESTS_KEPT


TestSequencing = Sequencing.TestCase
