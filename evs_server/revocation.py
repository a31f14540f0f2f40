"""
Tokens that have been taken back before their end: a file that names them, read again when it changes. Reads it.

Lives here: the file, and telling those who wait. Not here: what a token is (``tokens``), and what ends with it
(``access``, ``bridge``). A line holds the ``jti`` of one token; what follows a ``#`` is for people. Once a token has
ended by itself its line may go.
"""

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Final

from evs_server.clock import Clock, SystemClock
from evs_server.errors import ConfigError

log = logging.getLogger(__name__)

SETTING: Final = "EVS_REVOKED_TOKENS_FILE"

LOOK_SECONDS: Final = 1.0
"""How long a token may be good that has been taken back."""

FILE_BYTES_MAX: Final = 2**24
"""A list of this size holds a million ids: it should have been tidied up, and to read it would hold everybody up."""


class Revocations:
    """
    Tells which tokens have been taken back.

    Args:
        path: The file.
        clock: What says when to look at it again.

    Raises:
        ConfigError: If it cannot be read. Later, that is logged, and what it held before goes on to count.
    """

    def __init__(self, path: Path, clock: Clock | None = None) -> None:
        self._path = path
        self._clock = clock or SystemClock()
        self._stamp = self._look_at()
        self._ids = self._read()
        self._looked_at = self._clock.monotonic()
        self._waiting: dict[str, list[Callable[[], None]]] = {}
        self._alarm: asyncio.TimerHandle | None = None

    def holds(self, token_id: str) -> bool:
        """Whether the token of this id has been taken back, as of ``LOOK_SECONDS`` ago at the latest."""
        if self._clock.monotonic() - self._looked_at >= LOOK_SECONDS:
            self.look()
        return token_id in self._ids

    def watch(self, token_id: str, on_revoked: Callable[[], None]) -> Callable[[], None]:
        """
        Have ``on_revoked`` called, once, when a token is taken back; on the loop of the caller.

        Returns:
            What ends that, to be called once.
        """
        waiting = self._waiting.setdefault(token_id, [])
        waiting.append(on_revoked)
        if self._alarm is None:
            self._set_alarm()

        def unwatch() -> None:
            # Unless it has been told, and nobody else waits for the same.
            if on_revoked in waiting:
                waiting.remove(on_revoked)
            if not waiting and self._waiting.get(token_id) is waiting:
                del self._waiting[token_id]
            if not self._waiting and self._alarm is not None:
                self._alarm.cancel()
                self._alarm = None

        return unwatch

    def look(self) -> None:
        """Read the file if it has changed, and tell who waits for what is new in it."""
        self._looked_at = self._clock.monotonic()
        stamp = self._look_at()
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._ids = self._read()
        except ConfigError as error:
            log.error("the tokens taken back before go on to count, and no others: %s", error.message)
            return
        log.info("%s has changed: %d tokens are taken back", self._path, len(self._ids))
        for token_id in self._ids & self._waiting.keys():
            told = self._waiting.pop(token_id)
            for on_revoked in tuple(told):
                on_revoked()
            told.clear()

    def statistics(self) -> dict[str, int]:
        """How many tokens are taken back, and how many are watched."""
        return {"revoked": len(self._ids), "watched": len(self._waiting)}

    def _set_alarm(self) -> None:
        def ring() -> None:
            self._alarm = None
            self.look()
            if self._waiting:
                self._set_alarm()

        self._alarm = asyncio.get_running_loop().call_later(LOOK_SECONDS, ring)

    def _look_at(self) -> tuple[int, int, int] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_ino, found.st_size

    def _read(self) -> frozenset[str]:
        try:
            with self._path.open("rb") as file:
                content = file.read(FILE_BYTES_MAX + 1)
        except OSError as error:
            raise ConfigError(f"{SETTING}: {self._path}: {error.strerror}") from None
        if len(content) > FILE_BYTES_MAX:
            raise ConfigError(
                f"{SETTING}: {self._path} is longer than {FILE_BYTES_MAX} bytes: take out tokens that have ended"
            )
        lines = (line.partition(b"#")[0].strip() for line in content.splitlines())
        return frozenset(line.decode(errors="replace") for line in lines if line)
