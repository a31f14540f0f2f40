"""
One file of the spool: a stamp, then records, each with its length and checksum.

Lives here: framing, and finding out what of a file can still be trusted. Not here: which files there are, what they may
hold together, what is in a record (``spool``). Touches files.

A record is a head (magic, CRC-32 of the head, CRC-32 of the payload, first and last flush number, length) and a
payload. The magic keeps the zeros that a crash may leave behind from passing for a record, and a head with a checksum
of its own a damaged length from passing for a torn end. What a crash tears off is at the end, and nobody was told that
it is safe: it is cut. A record that is broken while something follows it is damage; what follows may depend on it.
"""

import os
import struct
import zlib
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import msgspec

_MAGIC: Final = b"EVSSPOOL"
_FORMAT: Final = 1
_FILE_HEAD: Final = struct.Struct("<8sHHI")  # magic, format, length of the stamp, its checksum
_RECORD_MAGIC: Final = b"EVSR"
_RECORD_HEAD: Final = struct.Struct("<4sI")  # magic, checksum of the rest of the head
_RECORD_REST: Final = struct.Struct("<IQQQ")  # checksum of the payload, first number, last number, length
_HEAD_BYTES: Final = _RECORD_HEAD.size + _RECORD_REST.size


class Stamp(msgspec.Struct, frozen=True):
    """
    Whose flushes a file holds.

    Attributes:
        database_id: The database that they are for.
        start_number: The start that captured them, or has taken them over.
    """

    database_id: str
    start_number: int


@dataclass(frozen=True, slots=True)
class Record:
    """
    Where a record is.

    Attributes:
        first_number: The first flush of those that were merged into the one it holds.
        number: The flush's own number: that of the last of them.
        start: Of the payload in the file.
        length: Of the payload.
    """

    first_number: int
    number: int
    start: int
    length: int


class Damaged(Exception):
    """
    A file of the spool that cannot be trusted from some place on.

    Args:
        message: What is wrong, for a person.
        start: From where on, in bytes.
    """

    def __init__(self, message: str, start: int) -> None:
        super().__init__(message)
        self.start = start


class Segment:
    """
    One file. Made by ``create`` or ``open``.

    Attributes:
        path: Where it is.
        stamp: Whose records it holds.
        records: Those not yet dropped, ascending.
        size: Bytes of the file.
    """

    def __init__(self, path: Path, descriptor: int, stamp: Stamp, size: int) -> None:
        self.path: Final = path
        self.stamp: Final = stamp
        self.records: deque[Record] = deque()
        self.size = size
        self._descriptor = descriptor

    @classmethod
    def create(cls, path: Path, stamp: Stamp) -> Self:
        """
        A new file without records, safe on disk.

        Raises:
            OSError: If it cannot be made.
        """
        body = msgspec.msgpack.encode(stamp)
        head = _FILE_HEAD.pack(_MAGIC, _FORMAT, len(body), zlib.crc32(body)) + body
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            _write_all(descriptor, head, 0)
            os.fsync(descriptor)
            sync_folder(path.parent)
        except OSError:
            os.close(descriptor)
            path.unlink(missing_ok=True)
            raise
        return cls(path, descriptor, stamp, len(head))

    @classmethod
    def open(cls, path: Path) -> "Segment":
        """
        A file that is there, with the records that can be trusted.

        Raises:
            Damaged: If not even its stamp can be read.
            OSError: If it cannot be opened.
        """
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            stamp, start = _read_stamp(descriptor)
        except Damaged:
            os.close(descriptor)
            raise
        return cls(path, descriptor, stamp, start)

    def scan(self) -> None:
        """
        Find all records; to be called once, after ``open``.

        A torn end is left out of ``size``; ``cut`` removes it.

        Raises:
            Damaged: At the first record that is broken and is not the torn end; those before it are found.
        """
        end = os.fstat(self._descriptor).st_size
        while self.size < end:
            record = self._record_at(self.size, end)
            if record is None:
                return
            self.records.append(record)
            self.size = record.start + record.length

    def cut(self) -> int:
        """Remove what follows the last record; how many bytes that was."""
        excess = os.fstat(self._descriptor).st_size - self.size
        if excess:
            os.ftruncate(self._descriptor, self.size)
            os.fsync(self._descriptor)
        return excess

    def append(self, parts: Iterable[tuple[int, int, bytes]]) -> None:
        """
        Append records and wait until they are safe on disk: all, or none.

        Args:
            parts: First number, number and payload of each.

        Raises:
            OSError: If the disk is full or fails.
        """
        position, added, chunks = self.size, [], []
        for first_number, number, payload in parts:
            added.append(Record(first_number, number, position + _HEAD_BYTES, len(payload)))
            chunks += [_head(first_number, number, payload), payload]
            position += _HEAD_BYTES + len(payload)
        try:
            _write_all(self._descriptor, b"".join(chunks), self.size)
            os.fsync(self._descriptor)
        except OSError:
            # If this fails, too, the next append writes over it and the next start cuts it.
            os.ftruncate(self._descriptor, self.size)
            raise
        self.records.extend(added)
        self.size = position

    def read(self, record: Record) -> bytes:
        """
        The payload of a record.

        Raises:
            Damaged: If the disk no longer gives what was written.
            OSError: If it gives nothing.
        """
        start = self.start_of(record)
        if self._record_at(start, record.start + record.length) != record:
            raise Damaged(f"flush {record.number} at byte {start} of {self.path} is not what was written", start)
        return os.pread(self._descriptor, record.length, record.start)

    def start_of(self, record: Record) -> int:
        """Where a record begins, its head included."""
        return record.start - _HEAD_BYTES

    def set_aside(self, start: int, path: Path) -> None:
        """Copy everything from a place on to a file of its own, and cut it off here."""
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            place = start
            while part := os.pread(self._descriptor, 2**20, place):
                _write_all(descriptor, part, place - start)
                place += len(part)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        self.records = deque(record for record in self.records if record.start < start)
        self.size = start
        self.cut()

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._descriptor)

    def remove(self) -> None:
        """Delete the file, and let go of it."""
        self.path.unlink(missing_ok=True)
        self.close()

    def _record_at(self, start: int, end: int) -> Record | None:
        """The record that begins there; None if it is the torn end of the file."""
        head = os.pread(self._descriptor, _HEAD_BYTES, start)
        if len(head) < _HEAD_BYTES or self._is_blank(start, end):
            return None
        magic, head_checksum = _RECORD_HEAD.unpack_from(head)
        rest = head[_RECORD_HEAD.size :]
        if magic != _RECORD_MAGIC or zlib.crc32(rest) != head_checksum:
            raise Damaged(f"no record begins at byte {start} of {self.path}", start)
        checksum, first_number, number, length = _RECORD_REST.unpack(rest)
        record = Record(first_number, number, start + _HEAD_BYTES, length)
        record_end = record.start + length
        if record_end > end:
            return None
        if zlib.crc32(os.pread(self._descriptor, length, record.start)) == checksum:
            return record
        if record_end == end:
            return None
        raise Damaged(f"the record of flush {number} at byte {start} of {self.path} has a wrong checksum", start)

    def _is_blank(self, start: int, end: int) -> bool:
        if any(os.pread(self._descriptor, len(_RECORD_MAGIC), start)):
            return False
        return not any(any(os.pread(self._descriptor, 2**20, place)) for place in range(start, end, 2**20))


def sync_folder(folder: Path) -> None:
    """Wait until the names of a folder's files are safe on disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read_stamp(descriptor: int) -> tuple[Stamp, int]:
    head = os.pread(descriptor, _FILE_HEAD.size, 0)
    if len(head) < _FILE_HEAD.size or head[: len(_MAGIC)] != _MAGIC:
        raise Damaged("the file does not begin as one of a spool does", 0)
    _, number, length, checksum = _FILE_HEAD.unpack(head)
    if number != _FORMAT:
        raise Damaged(f"the file has format {number}; this version of EVS reads format {_FORMAT}", 0)
    body = os.pread(descriptor, length, _FILE_HEAD.size)
    if zlib.crc32(body) != checksum:
        raise Damaged("the file's stamp has a wrong checksum", 0)
    try:
        return msgspec.msgpack.decode(body, type=Stamp), _FILE_HEAD.size + length
    except msgspec.DecodeError as error:
        raise Damaged(f"the file's stamp cannot be read: {error}", 0) from error


def _head(first_number: int, number: int, payload: bytes) -> bytes:
    rest = _RECORD_REST.pack(zlib.crc32(payload), first_number, number, len(payload))
    return _RECORD_HEAD.pack(_RECORD_MAGIC, zlib.crc32(rest)) + rest


def _write_all(descriptor: int, content: bytes, start: int) -> None:
    rest = memoryview(content)
    while rest:
        written = os.pwrite(descriptor, rest, start)
        start, rest = start + written, rest[written:]
