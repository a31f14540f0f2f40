"""
Trade prints in LEAN's format: checked whole first, then read as one tape in market order.

A file is ``SYMBOL/YYYYMMDD_trade.zip`` and holds one CSV without a header; a line is milliseconds since midnight in New
York, price times 10,000, size in shares, exchange, sale-condition flags in hex, suspicious (0 or 1). For example
``34200000,1814900,100,N,20000020,0`` in ``ibm/20131007_trade.zip`` is 1,000,000 bp of ibm at 18,149 cents, at 9:30.

Lives here: the format and the order of prints. Not here: what a print is used for. Reads files and nothing else.
Memory is flat however long the files are: at most one chunk of each file of one day is held.
"""

import heapq
import re
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from itertools import groupby, pairwise
from operator import attrgetter, itemgetter
from pathlib import Path
from typing import Final, NamedTuple, Self
from zoneinfo import ZoneInfo

from evs_server.errors import InputError
from evs_server.limits import BP_PER_SHARE, PRICE_CENTS_MAX, QUANTITY_BP_MAX, TICK_TIME_MS_MAX

NEW_YORK: Final = ZoneInfo("America/New_York")
DAY_MS: Final = 86_400_000
SUBCENTS_PER_CENT: Final = 100
"""LEAN keeps prices in 1/10,000 of a dollar."""

CHUNK_BYTES: Final = 1 << 16
LINE_BYTES_MAX: Final = 256
"""No print is longer; without the bound, a file without line ends would fill the memory."""

_NAME = re.compile(r"(\d{8})_trade\.zip")
_LINE = re.compile(rb"(-?\d{1,18}),(-?\d{1,18}),(-?\d{1,18}),[^,]{0,16},[0-9A-Fa-f]{0,16},[01]\r?")
_WHOLE_NUMBER = re.compile(r"-?\d{1,18}")


class Print(NamedTuple):
    """
    One trade as the tape reports it.

    Attributes:
        time_ms: Unix milliseconds.
        symbol_id: As ``Tape`` numbers the symbols.
        quantity_bp: Size in bp, positive.
        price_cents: Cents per share, positive.
    """

    time_ms: int
    symbol_id: int
    quantity_bp: int
    price_cents: int


@dataclass(frozen=True, slots=True)
class PrintFile:
    """One symbol's prints of one day: what the path alone says."""

    path: Path
    symbol: str
    day: date
    midnight_ms: int

    @classmethod
    def named(cls, path: Path) -> Self:
        """
        The file as its path describes it.

        Raises:
            InputError: If the path is not ``SYMBOL/YYYYMMDD_trade.zip``.
        """
        match = _NAME.fullmatch(path.name)
        symbol = path.absolute().parent.name
        if match is None or not symbol:
            raise InputError(f"{path}: expected a path such as ibm/20131007_trade.zip")
        try:
            day = date.fromisoformat(match[1])
            midnight_ms = int(datetime.combine(day, time(), NEW_YORK).timestamp()) * 1_000
        except (ValueError, OverflowError):
            raise InputError(f"{path}: {match[1]} is not a date (YYYYMMDD)") from None
        if not 0 < midnight_ms <= TICK_TIME_MS_MAX - DAY_MS:
            raise InputError(f"{path}: {match[1]} is not a date between 1970 and 9999")
        return cls(path, symbol, day, midnight_ms)


@dataclass(frozen=True, slots=True)
class Tape:
    """
    Prints of several files, merged by date and time; equal times in the order of the symbols' names.

    Attributes:
        files: By date, then symbol.
        symbols: Names, ascending; symbol ``i`` has id ``i + 1``.
        print_count: Prints in all files.
    """

    files: tuple[PrintFile, ...]
    symbols: tuple[str, ...]
    print_count: int

    @classmethod
    def checked(cls, paths: Sequence[Path]) -> Self:
        """
        The tape of these files, each of which has been read to its end and found good.

        Raises:
            InputError: At the first thing wrong, naming file and, where there is one, line.
        """
        if not paths:
            raise InputError("no files: expected paths such as ibm/20131007_trade.zip")
        files = tuple(sorted((PrintFile.named(path) for path in paths), key=attrgetter("day", "symbol")))
        for earlier, later in pairwise(files):
            if (earlier.day, earlier.symbol) == (later.day, later.symbol):
                raise InputError(f"{later.path}: {later.symbol} on {later.day} is given twice, first by {earlier.path}")
        symbols = tuple(sorted({file.symbol for file in files}))
        return cls(files, symbols, sum(1 for file in files for _ in _prints(file, symbol_id=0)))

    def __iter__(self) -> Iterator[Print]:
        """
        All prints in market order, read as they are asked for.

        Raises:
            InputError: If a file has changed since it was checked, and is no longer good.
        """
        symbol_id = {symbol: number for number, symbol in enumerate(self.symbols, start=1)}
        for _, files in groupby(self.files, key=attrgetter("day")):
            # The key is the time alone: within one file and time, the order of the lines is the order of the trades.
            yield from heapq.merge(*(_prints(file, symbol_id[file.symbol]) for file in files), key=itemgetter(0))


def _prints(file: PrintFile, symbol_id: int) -> Iterator[Print]:
    """The prints of one file, each line checked."""
    midnight_ms, last_ms, parse = file.midnight_ms, 0, _LINE.fullmatch
    for number, line in enumerate(_lines(file.path), start=1):
        fields = parse(line)
        if fields is None:
            raise _malformed(file.path, number, line)
        since_midnight_ms, subcents, shares = int(fields[1]), int(fields[2]), int(fields[3])
        price_cents, rest = divmod(subcents, SUBCENTS_PER_CENT)
        quantity_bp = shares * BP_PER_SHARE
        if (
            rest
            or not last_ms <= since_midnight_ms < DAY_MS
            or not 0 < price_cents <= PRICE_CENTS_MAX
            or not 0 < quantity_bp <= QUANTITY_BP_MAX
        ):
            raise _refused(f"{file.path}, line {number}", since_midnight_ms, subcents, shares, last_ms)
        last_ms = since_midnight_ms
        yield Print(midnight_ms + since_midnight_ms, symbol_id, quantity_bp, price_cents)


def _lines(path: Path) -> Iterator[bytes]:
    """The lines of the one CSV in a zip, without their ends, a chunk at a time."""
    try:
        with zipfile.ZipFile(path) as archive, archive.open(_only_csv(path, archive)) as stream:
            rest = b""
            while chunk := stream.read(CHUNK_BYTES):
                *lines, rest = (rest + chunk).split(b"\n")
                yield from lines
                if len(rest) > LINE_BYTES_MAX:
                    break
            if rest:
                yield rest
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from None
    # RuntimeError is how zipfile says that a member is encrypted, or packed in a way it does not know.
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        raise InputError(f"{path}: not a zip that can be read: {error}") from None


def _only_csv(path: Path, archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    members = [member for member in archive.infolist() if not member.is_dir()]
    if len(members) != 1 or not members[0].filename.lower().endswith(".csv"):
        found = ", ".join(member.filename for member in members[:5]) or "nothing"
        raise InputError(f"{path}: expected exactly one CSV in the zip, found {len(members)} files: {found}")
    return members[0]


def _malformed(path: Path, number: int, line: bytes) -> InputError:
    """What is wrong with a line that is no print at all."""
    place = f"{path}, line {number}"
    if len(line) > LINE_BYTES_MAX:
        return InputError(f"{place}: longer than the {LINE_BYTES_MAX} bytes that a line may have")
    text = line.decode("ascii", "backslashreplace").rstrip("\r")
    fields = text.split(",")
    if len(fields) != 6:
        return InputError(f"{place}: expected 6 fields, found {len(fields)}: {text!r}")
    for name, value in zip(("time", "price", "size"), fields, strict=False):
        if not _WHOLE_NUMBER.fullmatch(value):
            return InputError(f"{place}: {name} {value!r} is not a whole number of at most 18 digits")
    return InputError(f"{place}: expected exchange, hex flags and 0 or 1 at the end, found {','.join(fields[3:])!r}")


def _refused(place: str, since_midnight_ms: int, subcents: int, shares: int, last_ms: int) -> InputError:
    """The first bound, of time, price and size in this order, that the numbers of a line break; one of them does."""
    subcents_max, shares_max = PRICE_CENTS_MAX * SUBCENTS_PER_CENT, QUANTITY_BP_MAX // BP_PER_SHARE
    complaints = (
        (not 0 <= since_midnight_ms < DAY_MS, f"time {since_midnight_ms} is not within a day of {DAY_MS} ms"),
        (since_midnight_ms < last_ms, f"time {since_midnight_ms} is before {last_ms}, that of the line above"),
        (subcents <= 0, f"price {subcents} is not positive"),
        (subcents % SUBCENTS_PER_CENT, f"price {subcents} is not in whole cents: expected a multiple of 100"),
        (subcents > subcents_max, f"price {subcents} is above {subcents_max}"),
        (shares <= 0, f"size {shares} is not positive"),
        (shares > shares_max, f"size {shares} is above {shares_max} shares"),
    )
    return InputError(f"{place}: {next(complaint for broken, complaint in complaints if broken)}")
