"""What a process says it is, so that nothing is ever sent to another one that has got its id since. Touches I/O."""

import subprocess
import sys
from pathlib import Path
from typing import Final

_PS_SECONDS: Final = 10


def command_line(pid: int) -> str | None:
    """
    The words of a process's command line, each on a line; None if it has gone or they cannot be read.

    On Linux they are empty for one that has ended and was not waited for, and for a moment while a program starts.
    """
    if sys.platform == "linux":
        try:
            return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b"\n").decode(errors="replace")
        except OSError:
            return None
    listed = subprocess.run(  # noqa: S603 - a number is all that varies
        ["/bin/ps", "-ww", "-o", "command=", "-p", str(pid)],
        capture_output=True,
        text=True,
        timeout=_PS_SECONDS,
        check=False,
    )
    return listed.stdout.strip() or None
