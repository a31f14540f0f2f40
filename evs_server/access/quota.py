"""
How much one reader may ask for that may only read its own account. Pure; the clock is handed in.

Programs, which read for many, are not counted here: what they may take is bounded by their connection
(``listener``) and by what everybody may (``limits``).
"""

from collections import Counter, OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

from evs_server.clock import Clock
from evs_server.errors import Overloaded
from evs_server.limits import READERS_REMEMBERED, READS_AT_ONCE, READS_PER_SECOND, STREAMS_PER_READER


class Quota:
    """Calls a second and streams at one time, by the reader's name."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._stream_count: Counter[str] = Counter()

    def take(self, name: str) -> None:
        """
        Count one call.

        Raises:
            Overloaded: If there were too many of late.
        """
        now_s = self._clock.monotonic()
        left, since_s = self._left.pop(name, (READS_AT_ONCE, now_s))
        left = min(READS_AT_ONCE, left + (now_s - since_s) * READS_PER_SECOND)
        # To be refused costs nothing: whoever keeps on asking would else never be served again.
        self._left[name] = (left - 1 if left >= 1 else left, now_s)
        if len(self._left) > READERS_REMEMBERED:
            self._left.popitem(last=False)
        if left < 1:
            raise Overloaded(
                f"more than {READS_PER_SECOND} calls a second; wait a second, then try again", bound=READS_PER_SECOND
            )

    @contextmanager
    def stream(self, name: str) -> Iterator[None]:
        """
        Count one stream for as long as the context.

        Raises:
            Overloaded: If there are too many.
        """
        if self._stream_count[name] >= STREAMS_PER_READER:
            raise Overloaded(
                f"{STREAMS_PER_READER} streams are open already; end one of them first", bound=STREAMS_PER_READER
            )
        self._stream_count[name] += 1
        try:
            yield
        finally:
            self._stream_count[name] -= 1
            if not self._stream_count[name]:
                del self._stream_count[name]

    def statistics(self) -> dict[str, int]:
        """How many readers are remembered, and how many have a stream open."""
        return {"readers": len(self._left), "streaming": len(self._stream_count)}
