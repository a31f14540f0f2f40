"""
Flushes on disk that the database has yet to take: appended and read back in order, dropped once they are committed.

Lives here: the files, their order, their bound, and what is set aside of them. Not here: how a file is framed
(``spool_segment``), what a flush looks like (``flush_file``), when to spool (``backlog``), and what of an old spool may
still be written (``spool_replay``). Touches files; blocks, so it is called from a thread.

Invariants: the numbers of the flushes follow each other without a gap; an append is safe on disk when it returns, or
has left nothing behind; what cannot be trusted is never given out and never deleted: it is set aside, loudly.
"""

import fcntl
import logging
import os
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from errno import ENOSPC
from pathlib import Path
from typing import Final, Self

from evs_server.errors import ConfigError, SpoolTaken
from evs_server.model import Flush
from evs_server.store.flush_file import decode, encode
from evs_server.store.spool_segment import Damaged, Record, Segment, Stamp, sync_folder

logger = logging.getLogger(__name__)

SEGMENT_BYTES: Final = 64 * 2**20
"""A file that has grown beyond this takes no further append: what is drained is deleted in such portions."""

_SUFFIX: Final = ".spool"


class SpoolFull(OSError):
    """What was to be appended would bring the spool over its bound."""


@dataclass(frozen=True, slots=True)
class Spooled:
    """
    One flush in the spool.

    Attributes:
        first_number: The first of those that were merged into it; its own number if it was alone.
        flush: As it was captured, or merged.
    """

    first_number: int
    flush: Flush


class Spool:
    """
    The spool of one process. Made by ``open``.

    Attributes:
        set_aside_count: Times that something was set aside since it was opened.
    """

    def __init__(self, folder: Path, bytes_max: int, lock: int) -> None:
        self._folder = folder
        self._bytes_max = bytes_max
        self._lock = lock
        self._segments: deque[Segment] = deque()
        self._stamp: Stamp | None = None
        self._file_number = 0
        self.set_aside_count = 0

    @classmethod
    def open(cls, folder: Path, bytes_max: int) -> Self:
        """
        The spool in a folder, with whatever a process before has left there.

        A torn end is cut. At the first damaged record everything from there on is set aside.

        Args:
            folder: Made if it is not there; nobody but us can read it.
            bytes_max: Bound on the size of all files together.

        Raises:
            SpoolTaken: If another process uses it.
            ConfigError: If the folder cannot be used.
        """
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(lock)
                raise SpoolTaken(
                    f"the spool in {folder} belongs to another running EVS; "
                    "end it, or give this one another EVS_DATA_DIR"
                ) from None
            spool = cls(folder, bytes_max, lock)
            spool._load()
        except OSError as error:
            raise ConfigError(f"the spool in {folder} cannot be used: {error}") from error
        return spool

    @property
    def byte_count(self) -> int:
        """Bytes of all files, torn and dropped parts included."""
        return sum(segment.size for segment in self._segments)

    @property
    def flush_count(self) -> int:
        """Flushes waiting; merged ones count once."""
        return sum(len(segment.records) for segment in self._segments)

    @property
    def stamp(self) -> Stamp | None:
        """Whose flushes these are: the newest file's stamp; None if there is no file."""
        return self._segments[-1].stamp if self._segments else None

    @property
    def first_number(self) -> int | None:
        """The first of those merged into the oldest flush waiting; None if none is."""
        return next((segment.records[0].first_number for segment in self._segments if segment.records), None)

    @property
    def last_number(self) -> int | None:
        """The newest flush waiting; None if none is."""
        return next((segment.records[-1].number for segment in reversed(self._segments) if segment.records), None)

    def begin(self, stamp: Stamp) -> None:
        """
        Say whose flushes are appended from now on, and that what is waiting is taken over.

        Raises:
            OSError: If that cannot be made safe on disk.
        """
        self._stamp = stamp
        if self._segments and self._segments[-1].stamp != stamp:
            self._add_segment()

    def append(self, flushes: Sequence[Spooled]) -> None:
        """
        Put flushes behind those waiting; when this returns they are safe on disk.

        Args:
            flushes: Ascending, continuing what is waiting without a gap.

        Raises:
            SpoolFull: If there is no room for them within the bound; nothing has changed.
            OSError: If the disk is full or fails; nothing has changed.
        """
        assert self._stamp is not None, "begin comes before append"
        expected = self.last_number
        for spooled in flushes:
            assert expected is None or spooled.first_number == expected + 1, (spooled.first_number, expected)
            expected = spooled.flush.number
        parts = [(spooled.first_number, spooled.flush.number, encode(spooled.flush)) for spooled in flushes]
        added = sum(len(payload) for _, _, payload in parts)
        if self.byte_count + added > self._bytes_max:
            raise SpoolFull(
                ENOSPC,
                f"the spool holds {self.byte_count} bytes; {added} more would be over its bound of {self._bytes_max}",
            )
        if not self._segments or self._segments[-1].size > SEGMENT_BYTES or self._segments[-1].stamp != self._stamp:
            self._add_segment()
        self._segments[-1].append(parts)

    def read(self, count: int, bytes_max: int | None = None) -> list[Spooled]:
        """
        The oldest flushes, in order; they stay until they are dropped.

        Args:
            count: At most so many ...
            bytes_max: ... and so many bytes, but at least one flush.

        Raises:
            Damaged: If one of them can no longer be read.
            OSError: If the disk fails.
        """
        found: list[Spooled] = []
        byte_count = 0
        for segment, record in self._first_records(count):
            byte_count += record.length
            if found and bytes_max is not None and byte_count > bytes_max:
                break
            try:
                found.append(Spooled(record.first_number, decode(segment.read(record))))
            except ValueError as error:
                raise Damaged(
                    f"flush {record.number} in {segment.path} cannot be read: {error}", record.start
                ) from error
        return found

    def drop(self, number: int) -> None:
        """Forget all flushes up to a number, and delete the files that hold no other."""
        while self._segments:
            segment = self._segments[0]
            while segment.records and segment.records[0].number <= number:
                segment.records.popleft()
            if segment.records:
                return
            segment.remove()
            self._segments.popleft()

    def set_aside(self, reason: str) -> None:
        """Put away everything that is waiting, as it is: it will not be written, and not be deleted."""
        while self._segments:
            segment = self._segments.popleft()
            segment.close()
            self._put_away(segment.path, reason)

    def close(self) -> None:
        """Let go of all files, and of the folder."""
        for segment in self._segments:
            segment.close()
        self._segments.clear()
        os.close(self._lock)

    def _load(self) -> None:
        paths = sorted(path for path in self._folder.iterdir() if path.suffix == _SUFFIX)
        self._file_number = int(paths[-1].stem) if paths else 0
        for index, path in enumerate(paths):
            trouble = self._load_segment(path, is_last=index == len(paths) - 1)
            if trouble is not None:
                for later in paths[index + 1 :]:
                    self._put_away(later, f"it follows damage: {trouble}")
                return

    def _load_segment(self, path: Path, *, is_last: bool) -> str | None:
        """Take over one file; what is wrong with it, if what follows it can no longer be trusted."""
        try:
            segment = Segment.open(path)
        except Damaged as damage:
            if is_last and path.stat().st_size < 2**10:
                logger.warning("%s was being made when its process ended, and holds nothing: deleted", path)
                path.unlink()
                return None
            self._put_away(path, str(damage))
            return str(damage)
        self._segments.append(segment)
        try:
            segment.scan()
            self._check_order(segment)
        except Damaged as damage:
            self._put_away_from(segment, damage.start, str(damage))
            return str(damage)
        if excess := segment.cut():
            logger.warning("%d bytes at the end of %s were torn off in the middle of an append: cut", excess, path)
            return None if is_last else f"{path} was torn, and is not the last"
        return None

    def _check_order(self, segment: Segment) -> None:
        earlier = [other.records[-1].number for other in self._segments if other is not segment and other.records]
        expected = earlier[-1] + 1 if earlier else None
        for record in segment.records:
            if expected is not None and record.first_number != expected:
                raise Damaged(
                    f"flush {record.first_number} in {segment.path} is not the next: expected {expected}",
                    segment.start_of(record),
                )
            expected = record.number + 1

    def _first_records(self, count: int) -> Iterator[tuple[Segment, Record]]:
        for segment in self._segments:
            for record in segment.records:
                if not count:
                    return
                count -= 1
                yield segment, record

    def _add_segment(self) -> None:
        assert self._stamp is not None
        self._file_number += 1
        self._segments.append(Segment.create(self._folder / f"{self._file_number:012}{_SUFFIX}", self._stamp))

    def _put_away_from(self, segment: Segment, start: int, reason: str) -> None:
        target = self._free_name(segment.path)
        segment.set_aside(start, target)
        self._say_set_aside(segment.path, target, reason)

    def _put_away(self, path: Path, reason: str) -> None:
        target = self._free_name(path)
        path.rename(target)
        self._say_set_aside(path, target, reason)

    def _free_name(self, path: Path) -> Path:
        folder = self._folder / "set-aside"
        folder.mkdir(mode=0o700, exist_ok=True)
        names = (folder / f"{path.stem}.{number}{_SUFFIX}" for number in range(1, 10**6))
        return next(name for name in names if not name.exists())

    def _say_set_aside(self, path: Path, target: Path, reason: str) -> None:
        sync_folder(target.parent)
        sync_folder(self._folder)
        self.set_aside_count += 1
        logger.error("the spool's %s is not written to the database but kept in %s: %s", path.name, target, reason)
