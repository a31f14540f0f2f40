"""The spool: order, safety on disk, and what becomes of damage."""

import logging
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from evs_server.errors import ConfigError
from evs_server.store import spool as spool_module
from evs_server.store.flush_file import encode
from evs_server.store.spool import Spool, Spooled, SpoolFull
from evs_server.store.spool_segment import Damaged, Stamp
from tests.flushes import a_flush, a_valuation

STAMP = Stamp("a database", 3)
ROOM = 2**20
Opener = Callable[..., Spool]


@pytest.fixture
def reopen(tmp_path: Path) -> Iterator[Opener]:
    """Opens the spool in one folder, as the next process would: the one before is closed first."""
    opened: list[Spool] = []

    def open_again(*, bytes_max: int = ROOM, stamp: Stamp = STAMP) -> Spool:
        while opened:
            opened.pop().close()
        opened.append(Spool.open(tmp_path / "spool", bytes_max))
        opened[-1].begin(stamp)
        return opened[-1]

    yield open_again
    for spool in opened:
        spool.close()


def a_spooled(number: int, first_number: int | None = None) -> Spooled:
    return Spooled(first_number or number, a_flush(number, rows=[a_valuation(number, {1: number})]))


def numbers(spool: Spool) -> list[int]:
    return [spooled.flush.number for spooled in spool.read(1_000)]


def the_file(tmp_path: Path) -> Path:
    [path] = (tmp_path / "spool").glob("*.spool")
    return path


def set_aside(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "spool" / "set-aside").glob("*"))


def test_what_was_appended_is_read_in_order_also_by_the_next_process(reopen: Opener) -> None:
    spool = reopen()
    spool.append([a_spooled(5), a_spooled(8, first_number=6)])
    spool.append([a_spooled(9)])
    assert [5, 8, 9] == numbers(spool)
    spool = reopen()
    assert [(5, 5), (6, 8), (9, 9)] == [(each.first_number, each.flush.number) for each in spool.read(9)]
    assert [5, 8] == [each.flush.number for each in spool.read(2)]
    assert [5] == [each.flush.number for each in spool.read(9, bytes_max=1)]
    assert (5, 9, 3) == (spool.first_number, spool.last_number, spool.flush_count)


def test_what_is_dropped_is_gone_and_an_empty_spool_takes_no_room(reopen: Opener, tmp_path: Path) -> None:
    spool = reopen()
    spool.append([a_spooled(1), a_spooled(2), a_spooled(3)])
    spool.drop(2)
    assert [3] == numbers(spool)
    spool.drop(3)
    assert ([], 0, None) == (numbers(spool), spool.byte_count, spool.last_number)
    assert ["lock"] == [path.name for path in (tmp_path / "spool").iterdir()]
    spool.append([a_spooled(20)])
    assert [20] == numbers(reopen())


def test_drained_portions_make_room_before_all_is_drained(
    reopen: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool_module, "SEGMENT_BYTES", 1)
    spool = reopen()
    for number in range(1, 5):
        spool.append([a_spooled(number)])
    full = spool.byte_count
    spool.drop(2)
    assert full // 2 == spool.byte_count == sum(path.stat().st_size for path in (tmp_path / "spool").glob("*.spool"))
    assert [3, 4] == numbers(reopen())


def test_flushes_that_do_not_follow_each_other_are_a_bug(reopen: Opener) -> None:
    spool = reopen()
    spool.append([a_spooled(1)])
    with pytest.raises(AssertionError):
        spool.append([a_spooled(3)])


def test_only_we_can_read_it(reopen: Opener, tmp_path: Path) -> None:
    reopen().append([a_spooled(1)])
    modes = {
        path.name: stat.S_IMODE(path.stat().st_mode) for path in [tmp_path / "spool", *(tmp_path / "spool").iterdir()]
    }
    assert {"spool": 0o700, "lock": 0o600, the_file(tmp_path).name: 0o600} == modes


def test_one_process_at_a_time_has_it(reopen: Opener, tmp_path: Path) -> None:
    reopen()
    with pytest.raises(ConfigError, match="belongs to another running EVS"):
        Spool.open(tmp_path / "spool", ROOM)


def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "spool").write_text("a file")
    with pytest.raises(ConfigError, match="cannot be used"):
        Spool.open(tmp_path / "spool", ROOM)


def test_beyond_its_bound_it_takes_nothing_and_changes_nothing(reopen: Opener) -> None:
    size = len(encode(a_spooled(1).flush))
    spool = reopen(bytes_max=3 * size)
    spool.append([a_spooled(1), a_spooled(2)])
    before = spool.byte_count
    with pytest.raises(SpoolFull, match=f"over its bound of {3 * size}"):
        spool.append([a_spooled(3), a_spooled(4)])
    assert ([1, 2], before) == (numbers(spool), spool.byte_count)


def test_a_full_disk_changes_nothing(reopen: Opener, tmp_path: Path) -> None:
    """The next file turns out to be on a device that is always full."""
    spool = reopen()
    (tmp_path / "spool" / f"{1:012}.spool").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        spool.append([a_spooled(1)])
    assert [] == numbers(spool)
    spool.append([a_spooled(1)])
    assert [1] == numbers(reopen())


def test_an_append_that_fails_halfway_leaves_nothing(
    reopen: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = reopen()
    spool.append([a_spooled(1)])
    size = the_file(tmp_path).stat().st_size

    def fail(_descriptor: int) -> None:
        raise OSError(5, "the disk fails")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(OSError, match="the disk fails"):
            spool.append([a_spooled(2)])
    assert ([1], size) == (numbers(spool), the_file(tmp_path).stat().st_size)
    spool.append([a_spooled(2)])
    assert [1, 2] == numbers(reopen())


@pytest.mark.parametrize("zeros", [False, True])
def test_a_torn_end_is_cut_wherever_it_was_torn(reopen: Opener, tmp_path: Path, zeros: bool) -> None:
    """Every length between two records, and a rest that room was only made for: the first stays, the spool goes on."""
    reopen().append([a_spooled(1)])
    first_end = the_file(tmp_path).stat().st_size
    spool = reopen()
    spool.append([a_spooled(2)])
    content = the_file(tmp_path).read_bytes()
    for end in range(first_end, len(content), 97):
        reopen().drop(99)
        path = tmp_path / "spool" / f"{1:012}.spool"
        path.write_bytes(content[:end] + bytes(len(content) - end if zeros and end == first_end else 0))
        assert [1] == numbers(reopen())
        assert first_end == path.stat().st_size
    spool = reopen()
    spool.append([a_spooled(2)])
    assert [1, 2] == numbers(reopen())
    assert [] == set_aside(tmp_path)


def test_damage_in_the_middle_sets_aside_everything_from_there_on(
    reopen: Opener, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Wherever a bit of the second of three flips, its length and numbers included."""
    spool = reopen()
    spool.append([a_spooled(1)])
    start = spool.byte_count
    spool.append([a_spooled(2)])
    end = spool.byte_count
    spool.append([a_spooled(3)])
    content = the_file(tmp_path).read_bytes()
    path = the_file(tmp_path)
    for place in [*range(start, start + 36), *range(start + 36, end, 131)]:
        damaged = bytearray(content)
        damaged[place] ^= 0x10
        reopen()
        path.write_bytes(damaged)
        with caplog.at_level(logging.ERROR):
            assert [1] == numbers(reopen()), place
        assert bytes(damaged[start:]) == set_aside(tmp_path)[-1].read_bytes()
        assert f"{path.name} is not written to the database but kept in" in caplog.text
        set_aside(tmp_path)[-1].unlink()


def test_damage_sets_aside_the_files_after_it(reopen: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool_module, "SEGMENT_BYTES", 1)
    spool = reopen()
    for number in range(1, 4):
        spool.append([a_spooled(number)])
    second = sorted((tmp_path / "spool").glob("*.spool"))[1]
    second.write_bytes(b"EVSPOOL?" + second.read_bytes()[8:])
    spool = reopen()
    assert ([1], 2) == (numbers(spool), spool.set_aside_count)
    assert 2 == len(set_aside(tmp_path))
    spool.append([a_spooled(2)])
    assert [1, 2] == numbers(reopen())


def test_a_file_that_is_missing_in_between_is_noticed(
    reopen: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool_module, "SEGMENT_BYTES", 1)
    spool = reopen()
    for number in range(1, 4):
        spool.append([a_spooled(number)])
    sorted((tmp_path / "spool").glob("*.spool"))[1].unlink()
    assert [1] == numbers(reopen())
    assert 1 == len(set_aside(tmp_path))


def test_a_file_of_another_format_is_kept_and_not_read(reopen: Opener, tmp_path: Path) -> None:
    spool = reopen()
    spool.append([a_spooled(number) for number in range(1, 9)])
    content = the_file(tmp_path).read_bytes()
    the_file(tmp_path).write_bytes(content[:8] + b"\x63\x00" + content[10:])
    assert [] == numbers(reopen())
    assert content[10:] == set_aside(tmp_path)[0].read_bytes()[10:]


def test_a_file_that_was_being_made_when_its_process_ended_is_nothing(reopen: Opener, tmp_path: Path) -> None:
    reopen()
    (tmp_path / "spool" / f"{1:012}.spool").write_bytes(b"EVSS")
    assert [] == numbers(reopen())
    assert [] == set_aside(tmp_path)


def test_what_the_disk_no_longer_gives_back_is_not_given_out(reopen: Opener, tmp_path: Path) -> None:
    spool = reopen()
    spool.append([a_spooled(1)])
    content = bytearray(the_file(tmp_path).read_bytes())
    content[-20] ^= 1
    the_file(tmp_path).write_bytes(content)
    with pytest.raises(Damaged):
        spool.read(1)


def test_who_takes_it_over_says_so_on_disk(reopen: Opener) -> None:
    spool = reopen(stamp=Stamp("a database", 3))
    spool.append([a_spooled(1)])
    assert 4 == (reopen(stamp=Stamp("a database", 4)).stamp or STAMP).start_number
    spool = reopen(stamp=Stamp("a database", 4))
    assert [1] == numbers(spool)
    spool.append([a_spooled(2)])
    assert [1, 2] == numbers(reopen())
