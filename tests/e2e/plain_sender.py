"""
A sender of numbered events written from ``docs/SENDERS.md`` alone, in plain grpcio: what another language would write.

One thread feeds it (``add``), another brings what is kept to EVS (``run``). It knows nothing of our own client.
"""

import threading
from collections import deque
from collections.abc import Iterator
from typing import Any, NamedTuple

import grpc
from evs.v1 import evs_pb2 as pb
from evs.v1 import evs_pb2_grpc

CALL_SECONDS = 5.0
STREAM_SECONDS = 10.0
PAUSE_SECONDS = 0.05
PAUSE_SECONDS_MAX = 1.0
KEPT_BATCHES_MAX = 10_000

GO_ON = {"INVALID_ARGUMENT", "OUT_OF_RANGE", "NOT_FOUND"}
SEND_AGAIN = {"ABORTED", "UNAVAILABLE", "RESOURCE_EXHAUSTED"}


class Kept(NamedTuple):
    """A batch that is not known to be durable."""

    first_sequence: int
    event_count: int
    runs: tuple[pb.EventRun, ...]

    @property
    def last_sequence(self) -> int:
        return self.first_sequence + self.event_count - 1


class GaveUp(Exception):
    """Another numbering of this source is in the way; a person must look."""


class PlainSender:
    """
    Keeps batches until they are durable, and sends them as often as it takes.

    Args:
        address: Where EVS is.
        source: The sender's name.

    Attributes:
        refusals: What EVS refused for good, by sequence.
    """

    def __init__(self, address: str, source: str) -> None:
        # gRPC's own pause between two connections is a second and more, on top of ours.
        pauses_ms = {"initial": 100, "min": 100, "max": 1_000}
        options = [(f"grpc.{name}_reconnect_backoff_ms", pause_ms) for name, pause_ms in pauses_ms.items()]
        self._channel = grpc.insecure_channel(address, options=[*options, ("grpc.use_local_subchannel_pool", 1)])
        self._stub: Any = evs_pb2_grpc.EquityValuationServiceStub(self._channel)
        self._source = source
        self._epoch = 0
        self._next_sequence = 1
        self._kept: deque[Kept] = deque()
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self.applied_sequence = 0
        self.durable_sequence = 0
        self.call_count = 0
        self.refusals: dict[int, str] = {}

    def add(self, count: int, *runs: pb.EventRun) -> None:
        """Number a batch and keep it: both legs of a trade, or a tick's worth."""
        with self._changed:
            while len(self._kept) >= KEPT_BATCHES_MAX:
                self._changed.wait(CALL_SECONDS)
            self._kept.append(Kept(self._next_sequence, count, runs))
            self._next_sequence += count
            self._changed.notify_all()

    def stop(self) -> None:
        """End ``run``, whatever is still kept."""
        self._stopping.set()
        with self._changed:
            self._changed.notify_all()

    def run(self) -> None:
        """
        Send until ``stop``.

        Raises:
            GaveUp: If another numbering is in the way.
        """
        pause = PAUSE_SECONDS
        while not self._stopping.is_set():
            try:
                self._agree_where_to_begin()
                self._converse()
                pause = PAUSE_SECONDS
            except grpc.RpcError:
                # In the same state as before: the next round asks EVS what it has. The pause ends early at a stop.
                self._stopping.wait(pause)
                pause = min(2 * pause, PAUSE_SECONDS_MAX)
        self._channel.close()

    def _agree_where_to_begin(self) -> None:
        state = self._state()
        if not self._epoch:
            while state.durable_sequence < state.applied_sequence:
                state = self._state(state.applied_sequence)
            self._epoch = state.epoch + 1
        elif state.epoch > self._epoch:
            raise GaveUp(f"epoch {self._epoch} of {self._source} is over: EVS is at {state.epoch}")
        # An epoch begins with its first event: EVS may not know ours yet, or, after a crash, any more.
        durable = state.durable_sequence if state.epoch == self._epoch else 0
        self._note(durable, durable)

    def _state(self, wait_durable_sequence: int = 0) -> pb.GetIngestStateResponse:
        request = pb.GetIngestStateRequest(source=self._source, wait_durable_sequence=wait_durable_sequence)
        answer: pb.GetIngestStateResponse = self._stub.GetIngestState(request, timeout=CALL_SECONDS)
        return answer

    def _converse(self) -> None:
        over = threading.Event()
        # The deadline is what ends a line that swallows everything; whatever was in flight is simply sent again.
        call = self._stub.StreamEvents(self._requests(over), timeout=STREAM_SECONDS)
        self.call_count += 1
        try:
            for answer in call:
                self._take(answer)
                if self._stopping.is_set():
                    return
        finally:
            over.set()
            call.cancel()
            with self._changed:
                self._changed.notify_all()

    def _requests(self, over: threading.Event) -> Iterator[pb.StreamEventsRequest]:
        """Everything kept from the oldest on, and then what is added, until the call is over."""
        sent = 0
        while not (over.is_set() or self._stopping.is_set()):
            with self._changed:
                batch = next((kept for kept in self._kept if kept.first_sequence > sent), None)
                if batch is None:
                    self._changed.wait(CALL_SECONDS)
                    continue
            sent = batch.last_sequence
            yield pb.StreamEventsRequest(
                source=self._source, epoch=self._epoch, first_sequence=batch.first_sequence, runs=batch.runs
            )

    def _take(self, answer: pb.StreamEventsResponse) -> None:
        for refusal in answer.refusals:
            if refusal.reason in GO_ON:
                self.refusals[refusal.sequence] = refusal.reason
            elif refusal.reason in SEND_AGAIN:
                raise _Again(refusal.message)
            else:
                raise GaveUp(f"{refusal.reason}: {refusal.message}")
        self._note(answer.applied_sequence, answer.durable_sequence)

    def _note(self, applied_sequence: int, durable_sequence: int) -> None:
        with self._changed:
            self.applied_sequence, self.durable_sequence = applied_sequence, durable_sequence
            while self._kept and self._kept[0].last_sequence <= durable_sequence:
                self._kept.popleft()
            self._changed.notify_all()


class _Again(grpc.RpcError):
    """EVS cannot go on with this stream; the next one begins after what is durable."""
