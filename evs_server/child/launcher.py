"""
Becomes another program: gives up root where asked to, ties its life to its parent's, then replaces itself.

A script of its own, run with the standard library alone, because code of ours between fork and exec would run in a copy
of a process that has threads. Not imported by the service. Usage, all arguments required::

    launcher.py PARENT_PID USER DIRECTORY PROGRAM ARGUMENT...

``USER`` is empty to stay who one is. In the arguments ``{directory}`` stands for ``DIRECTORY``, written so that the
user can reach it.
"""

import ctypes
import os
import pwd
import signal
import sys

CANNOT_RUN = 126
"""Exit status if the program cannot be run by that user, as of a shell."""

PARENT_GONE = 125
"""Exit status if the parent ended before its child was tied to it."""

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Replace this process by the program; returns never."""
    parent_pid, user, directory, program, *arguments = sys.argv[1:]
    # Held open as who we still are: it lets the server into its directory even where a parent of that, such as root's
    # home, is closed to its user.
    held = os.open(directory, os.O_RDONLY)
    # Loaded while Python's own files can surely be read.
    libc = ctypes.CDLL(None, use_errno=True)
    if user:
        _become(user)
        # Where we are may be closed to that user. Whoever stays who they are finds a relative path where we would.
        os.chdir("/")
    if sys.platform == "linux":
        # After the change of user, which clears it. SIGINT is PostgreSQL's fast and clean shutdown, and one of NATS's.
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGINT, 0, 0, 0)
    if os.getppid() != int(parent_pid):
        sys.exit(PARENT_GONE)
    seen = directory
    if not os.access(directory, os.X_OK):
        os.set_inheritable(held, True)
        seen = f"/proc/self/fd/{held}"
    try:
        os.execv(program, [program, *(argument.replace("{directory}", seen) for argument in arguments)])  # noqa: S606
    except OSError as error:
        sys.stderr.write(f"cannot run {program} as user {user or os.geteuid()}: {error.strerror}\n")
        sys.exit(CANNOT_RUN)


def _become(user: str) -> None:
    entry = pwd.getpwnam(user)
    os.initgroups(user, entry.pw_gid)
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)


if __name__ == "__main__":
    main()
