"""
Which workers a demo has started, noted in a file that its bridges and ``evs demo-cluster --kill`` read. Touches I/O.

A process id alone may be another process's by now. So each start has a word of its own, on its command line, and
nothing is killed whose command line has another: not even in the moment between the look and the kill, where the system
can hold a process by a descriptor.
"""

import contextlib
import json
import os
import random
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from evs_server.child import command_line

STARTS_KEPT: Final = 50
"""The newest: whoever watches still tells the name of one that has just gone."""


@dataclass(frozen=True, slots=True)
class Started:
    """
    One worker, from its start; whether it still runs is not said.

    Attributes:
        name: What the demo calls it.
        pid: Its process id.
        word: Stands on its command line, and on no other.
    """

    name: str
    pid: int
    word: str


class Roll:
    """
    The note of those that were started, in this order; ``bridge.site.Workers``.

    Args:
        path: The file; the demo that runs writes it, anybody may read it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read_at: int | None = None
        self._started: Sequence[Started] = ()
        self._killed: set[Started] = set()

    def add(self, worker: Started) -> None:
        """Note one more; a reader has the note with it or without it."""
        noted = [*self.read(), worker][-STARTS_KEPT:]
        fresh = self.path.with_suffix(".new")
        fresh.write_text(json.dumps([asdict(each) for each in noted]))
        fresh.replace(self.path)

    def clear(self) -> None:
        """Nobody runs any more."""
        self.path.unlink(missing_ok=True)

    def read(self) -> Sequence[Started]:
        """All that are noted."""
        try:
            written_at = self.path.stat().st_mtime_ns
            if written_at != self._read_at:
                noted = json.loads(self.path.read_text())
                self._started, self._read_at = [Started(**each) for each in noted], written_at
        except FileNotFoundError:
            self._started, self._read_at = (), None
        return self._started

    def name_of(self, owner: str) -> str:
        """What the demo calls the owner of a virtual shard that calls itself so; the same if it is none of the demo."""
        # Workers call themselves by their process ids, among other things.
        named = (each.name for each in reversed(self.read()) if owner.startswith(f"evs shard {each.pid}."))
        return next(named, owner)

    def kill(self) -> str | None:
        """Kill one that runs, whichever; its name, or None if none does."""
        # One that was killed a moment ago may still seem to run.
        started = [each for each in self.read() if each not in self._killed]
        random.shuffle(started)
        killed = next((each for each in started if kill(each)), None)
        if killed is None:
            return None
        self._killed.add(killed)
        return killed.name


def kill(worker: Started) -> bool:
    """Kill a worker, as a power cut would; False if it does not run any more."""
    with _held(worker.pid) as held:
        words = command_line(worker.pid)
        if words is None or worker.word not in words:
            return False
        try:
            if held is None:
                os.kill(worker.pid, signal.SIGKILL)
            else:
                signal.pidfd_send_signal(held, signal.SIGKILL)
        except ProcessLookupError:
            return False
        return True


@contextmanager
def _held(pid: int) -> Iterator[int | None]:
    """A descriptor of a process, which no other process can come by; None where the system has none to give."""
    if not hasattr(os, "pidfd_open"):
        yield None
        return
    descriptor: int | None = None
    with contextlib.suppress(OSError):
        descriptor = os.pidfd_open(pid)
    try:
        yield descriptor
    finally:
        if descriptor is not None:
            os.close(descriptor)
