"""Prints are read in market order, and whatever is wrong with a file is said with its name and line."""

import zipfile
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from evs_server.errors import InputError
from evs_server.exchange.prints import CHUNK_BYTES, Print, Tape

GOOD = "14400000,1814900,100,N,20000020,0"


def write_prints(folder: Path, symbol: str, day: str, *lines: str) -> Path:
    """A file of prints in LEAN's format."""
    path = folder / symbol / f"{day}_trade.zip"
    path.parent.mkdir(exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{day}_{symbol}_Trade_Tick.csv", "\n".join(lines))
    return path


def new_york_ms(day: str, since_midnight_ms: int) -> int:
    midnight = datetime.strptime(day, "%Y%m%d").replace(tzinfo=ZoneInfo("America/New_York"))
    return int(midnight.timestamp()) * 1_000 + since_midnight_ms


def test_a_print_is_in_cents_basis_points_and_unix_time(tmp_path: Path) -> None:
    """LEAN's price times 10,000 becomes cents, its shares bp, its New York time unix milliseconds."""
    path = write_prints(tmp_path, "ibm", "20131007", "34200000,1814900,100,N,20000020,0")
    assert [Print(1_381_152_600_000, 1, 1_000_000, 18_149)] == list(Tape.checked([path]))


def test_files_merge_by_date_and_time_and_keep_the_order_of_equal_times(tmp_path: Path) -> None:
    """Days follow each other; within a day times do, symbols break ties, and a file's own order stays."""
    ibm = write_prints(tmp_path, "ibm", "20131007", "1000,200,1,N,0,0", "1000,100,2,N,0,0", "3000,100,3,N,0,0")
    aig_next = write_prints(tmp_path, "aig", "20131008", "500,100,4,N,0,0")
    aig = write_prints(tmp_path, "aig", "20131007", "1000,100,5,N,0,0", "2000,100,6,N,0,0")
    tape = Tape.checked([aig_next, ibm, aig])
    assert ("aig", "ibm") == tape.symbols
    assert 6 == tape.print_count
    first, second = "20131007", "20131008"
    assert [
        Print(new_york_ms(first, 1_000), 1, 50_000, 1),
        Print(new_york_ms(first, 1_000), 2, 10_000, 2),
        Print(new_york_ms(first, 1_000), 2, 20_000, 1),
        Print(new_york_ms(first, 2_000), 1, 60_000, 1),
        Print(new_york_ms(first, 3_000), 2, 30_000, 1),
        Print(new_york_ms(second, 500), 1, 40_000, 1),
    ] == list(tape)


def test_a_file_longer_than_a_chunk_is_read_whole(tmp_path: Path) -> None:
    """Lines that cross the boundary of a chunk are put together again; line ends of either kind will do."""
    count = 3 * CHUNK_BYTES // len(GOOD)
    path = write_prints(tmp_path, "ibm", "20131007", *[f"{GOOD}\r"] * count, "")
    assert count == Tape.checked([path]).print_count


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("14400000,1814900,100,N,0", "expected 6 fields, found 5"),
        ("14400000,1814900,100,N,0,0,0", "expected 6 fields, found 7"),
        ("", "expected 6 fields, found 1"),
        ("noon,1814900,100,N,0,0", "time 'noon' is not a whole number"),
        ("14400000,181.49,100,N,0,0", "price '181.49' is not a whole number"),
        ("14400000,1814900,1_00,N,0,0", "size '1_00' is not a whole number"),
        ("14400000,1814900, 100,N,0,0", "size ' 100' is not a whole number"),
        ("14400000,1814900,1000000000000000000,N,0,0", "whole number of at most 18 digits"),
        ("14400000,1814900,100,N,xyz,0", "hex flags"),
        ("14400000,1814900,100,N,0,2", "found 'N,0,2'"),
        ("-1,1814900,100,N,0,0", "time -1 is not within a day"),
        ("86400000,1814900,100,N,0,0", "time 86400000 is not within a day"),
        ("14399999,1814900,100,N,0,0", "time 14399999 is before 14400000"),
        ("14400000,0,100,N,0,0", "price 0 is not positive"),
        ("14400000,-100,100,N,0,0", "price -100 is not positive"),
        ("14400000,1814950,100,N,0,0", "price 1814950 is not in whole cents"),
        ("14400000,100000000000100,100,N,0,0", "price 100000000000100 is above"),
        ("14400000,1814900,0,N,0,0", "size 0 is not positive"),
        ("14400000,1814900,-5,N,0,0", "size -5 is not positive"),
        ("14400000,1814900,900719925475,N,0,0", "size 900719925475 is above 900719925474 shares"),
        (f"14400000,1814900,100,{'N' * 300},0,0", "longer than the 256 bytes"),
    ],
)
def test_a_bad_line_is_named_with_its_file_and_number(tmp_path: Path, line: str, complaint: str) -> None:
    """The first bad line ends the check, with where it is and what is wrong with it."""
    path = write_prints(tmp_path, "ibm", "20131007", GOOD, line, GOOD)
    with pytest.raises(InputError) as caught:
        Tape.checked([path])
    assert caught.value.message.startswith(f"{path}, line 2: ")
    assert complaint in caught.value.message


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("ibm/20131007_quote.zip", "expected a path such as"),
        ("ibm/trades.zip", "expected a path such as"),
        ("ibm/20131307_trade.zip", "20131307 is not a date"),
        ("ibm/19690101_trade.zip", "not a date between 1970 and 9999"),
        ("ibm/20131007_trade.zip", "No such file"),
    ],
)
def test_a_path_that_cannot_be_read_is_named(tmp_path: Path, name: str, complaint: str) -> None:
    """A path says symbol and day, or is refused; so is one where nothing is."""
    with pytest.raises(InputError) as caught:
        Tape.checked([tmp_path / name])
    assert caught.value.message.startswith(f"{tmp_path / name}: ")
    assert complaint in caught.value.message


def test_a_file_that_is_no_zip_is_refused(tmp_path: Path) -> None:
    """Text under the name of a zip is said to be no zip."""
    path = tmp_path / "20131007_trade.zip"
    path.write_text(GOOD)
    with pytest.raises(InputError, match="not a zip that can be read"):
        Tape.checked([path])


def test_a_damaged_zip_is_refused(tmp_path: Path) -> None:
    """The checksum of a member is part of the check."""
    path = write_prints(tmp_path, "ibm", "20131007", GOOD)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("prints.csv", GOOD)
    path.write_bytes(path.read_bytes().replace(b"1814900", b"1814800"))
    with pytest.raises(InputError, match="not a zip that can be read"):
        Tape.checked([path])


@pytest.mark.parametrize("members", [(), ("a.csv", "b.csv"), ("a.txt",)])
def test_a_zip_holds_exactly_one_csv(tmp_path: Path, members: tuple[str, ...]) -> None:
    """Anything but one CSV is refused, since it is not known which to believe."""
    path = tmp_path / "20131007_trade.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for member in members:
            archive.writestr(member, GOOD)
    with pytest.raises(InputError, match="expected exactly one CSV"):
        Tape.checked([path])


def test_the_same_symbol_and_day_twice_is_refused(tmp_path: Path) -> None:
    """The same prints twice would be different trades, which nobody means."""
    path = write_prints(tmp_path, "ibm", "20131007", GOOD)
    with pytest.raises(InputError, match="ibm on 2013-10-07 is given twice"):
        Tape.checked([path, path])


def test_no_files_are_refused() -> None:
    """A tape of nothing is a mistake."""
    with pytest.raises(InputError, match="no files"):
        Tape.checked([])
