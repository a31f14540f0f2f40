"""
The directory of the embedded PostgreSQL: whose it is, and what an earlier process may have left in it.

Layout: ``cluster`` is PostgreSQL's own data directory; ``cluster.new`` one that is being made; ``evs.pid`` names the
process that holds the directory. Beside it, in the machine's directory for temporary files, stands a short *runtime*
directory for the socket, whose path may have at most 107 bytes (103 on macOS); its name is derived from the data
directory, so that what a killed process left there is found and cleared by the next.

Invariant: only the process that holds the lock touches anything in here. The lock is on the directory itself and goes
with its process, however that ends. Does I/O on files only.
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
import stat
from pathlib import Path
from typing import Final

from evs_server.child import command_line
from evs_server.errors import ConfigError
from evs_server.store.embedded.installation import ServerUser

# Not the directory that TMPDIR names: it may be long, and closed to the server's user.
_SHORT: Final = Path("/tmp")  # noqa: S108 - what we make in it is ours alone (0700) and checked before use
_OURS: Final = {"cluster", "cluster.new", "evs.pid"}
_SERVER_PROCESS: Final = "postgres:"
"""How all processes of a server but the main one call themselves."""


class DataDirectory:
    """
    One data directory and its runtime directory.

    Args:
        path: Made, with its parents, when it is claimed.
        user: Who PostgreSQL runs as.
    """

    def __init__(self, path: Path, user: ServerUser) -> None:
        self.path = path
        self.user = user
        self.cluster = path / "cluster"
        name = hashlib.sha256(os.fsencode(path)).hexdigest()[:12]
        self.runtime = _SHORT.resolve() / f"evs-{name}"
        self._unfinished = path / "cluster.new"
        self._owner = path / "evs.pid"
        self._lock: int | None = None

    def claim(self) -> None:
        """
        Make it ours alone, until ``release`` or the end of this process.

        Raises:
            ConfigError: If another process holds it, or it is not EVS's.
        """
        assert self._lock is None, f"{self.path} is claimed already"
        try:
            with contextlib.ExitStack() as undo:
                self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
                lock = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
                undo.callback(os.close, lock)
                self._lock_or_refuse(lock)
                self._refuse_foreign()
                self.path.chmod(0o700)
                self.user.own(self.path)
                self._owner.write_text(f"{os.getpid()}\n")
                undo.pop_all()
        except OSError as error:
            raise ConfigError(
                f"cannot use {self.path} for the embedded PostgreSQL: {error}; run EVS as the user who owns it, or set"
                " EVS_DATA_DIR to another directory"
            ) from error
        self._lock = lock

    def release(self) -> None:
        """Let others have it."""
        assert self._lock is not None, f"{self.path} is not claimed"
        self._owner.unlink(missing_ok=True)
        os.close(self._lock)
        self._lock = None

    def make_runtime(self) -> None:
        """
        Make the runtime directory, empty, closed to everyone but the server's user.

        Raises:
            ConfigError: If somebody else has something in its place.
        """
        with contextlib.suppress(FileNotFoundError):
            found = self.runtime.lstat()
            if not stat.S_ISDIR(found.st_mode) or found.st_uid not in {os.geteuid(), self.user.uid}:
                raise ConfigError(
                    f"{self.runtime} is needed for the embedded PostgreSQL's socket, but belongs to user id"
                    f" {found.st_uid}: remove it, or set EVS_DATA_DIR to another directory",
                    uid=found.st_uid,
                )
            shutil.rmtree(self.runtime)
        self.runtime.mkdir(mode=0o700)
        self.user.own(self.runtime)

    def remove_runtime(self) -> None:
        """Remove the runtime directory with all that is in it."""
        shutil.rmtree(self.runtime, ignore_errors=True)

    def begin_cluster(self) -> Path:
        """An empty directory to make a cluster in; what an interrupted attempt left is removed."""
        if self._unfinished.exists():
            shutil.rmtree(self._unfinished)
        self._unfinished.mkdir(mode=0o700)
        self.user.own(self._unfinished)
        return self._unfinished

    def finish_cluster(self) -> None:
        """Put the cluster that has been made whole in its place, in one step."""
        self._unfinished.rename(self.cluster)

    def postmaster_status(self) -> tuple[int, str] | None:
        """Process id and state (``ready``, ``starting`` ...) that a server has left in the cluster, or None."""
        try:
            lines = (self.cluster / "postmaster.pid").read_text().splitlines()
            # Its eighth line is the state; it is missing for a moment while the server writes the file.
            return int(lines[0]), lines[7].strip() if len(lines) > 7 else ""
        except (FileNotFoundError, IndexError, ValueError):
            return None

    def leftover_server(self) -> int | None:
        """
        The process id of a server that still runs here for an EVS that has gone; None if there is none.

        A stale note of one is left for PostgreSQL to judge, unless its process id now belongs to another program, or to
        one that has ended and was not waited for: PostgreSQL would take either for a server.

        Raises:
            ConfigError: If a server that is not EVS's runs on the cluster.
        """
        status = self.postmaster_status()
        words = command_line(status[0]) if status is not None else None
        if status is None or words is None:
            return None
        if str(self.runtime) in words:
            return status[0]
        if str(self.cluster) in words:
            raise ConfigError(
                f"a PostgreSQL that EVS did not start (process {status[0]}) runs on {self.cluster}: stop it first",
                pid=status[0],
            )
        (self.cluster / "postmaster.pid").unlink(missing_ok=True)
        return None

    def orphans(self) -> list[int]:
        """
        Processes of a server on the cluster whose main process has gone; Linux tells of them, other systems do not.

        To be asked where no server runs. One that waits for a lock of a process that was killed never notices.
        """
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                is_here = (entry / "cwd").readlink() == self.cluster
            except OSError:  # it has ended, or is none of our business
                continue
            words = command_line(int(entry.name)) if is_here else None
            if words is not None and words.startswith(_SERVER_PROCESS):
                found.append(int(entry.name))
        return found

    def _refuse_foreign(self) -> None:
        foreign = sorted({entry.name for entry in self.path.iterdir()} - _OURS)
        if foreign:
            raise ConfigError(
                f"{self.path} holds {foreign[0]!r}, which is not EVS's: set EVS_DATA_DIR to a directory of its own"
            )

    def _lock_or_refuse(self, lock: int) -> None:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = self._owner.read_text().strip() if self._owner.exists() else ""
            raise ConfigError(
                f"{self.path} is in use by another EVS (process {owner or 'unknown'}): stop that one, or set"
                " EVS_DATA_DIR to another directory, or EVS_DATABASE_URL to a PostgreSQL that both may use",
                pid=owner,
            ) from None
