"""
A directory for what a replay throws away, which stays behind for no longer than until the next replay. Touches files.

Who is killed removes nothing, so the next one does. A directory is locked before it has its name, and the lock goes
with its process: one of that name that is not locked is nobody's any more.
"""

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from evs_server.store.embedded import remove_runtime_of

PREFIX: Final = "evs-replay-"
POSTGRES: Final = "postgres"
"""The name of the embedded database's directory in it."""

_UNNAMED: Final = "evs-new-"


@contextmanager
def scratch_directory() -> Iterator[Path]:
    """A directory of our own, for as long as the context; those that killed processes have left are removed."""
    parent = Path(tempfile.gettempdir()).absolute()
    for path in parent.glob(f"{PREFIX}*"):
        # Somebody else's, or removed by another replay at this moment.
        with contextlib.suppress(OSError):
            _remove_if_left(path)
    made = Path(tempfile.mkdtemp(prefix=_UNNAMED, dir=parent))
    with _held(made):
        directory = made.rename(parent / made.name.replace(_UNNAMED, PREFIX, 1))
        try:
            yield directory
        finally:
            shutil.rmtree(directory, ignore_errors=True)


def _remove_if_left(path: Path) -> None:
    if path.lstat().st_uid != os.geteuid():
        return
    with _held(path):
        remove_runtime_of(path / POSTGRES)
        shutil.rmtree(path, ignore_errors=True)


@contextmanager
def _held(path: Path) -> Iterator[None]:
    """Hold the lock of a directory, which nobody else holds; OSError if somebody does, or it is none."""
    lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(lock)
