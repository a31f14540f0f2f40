"""
How EVS logs: one line for each thing worth knowing, plain text, to standard error.

Lives here: the set-up of Python's logging, done once by a command. Not here: what is logged (each shell says its own),
and no line per event, tick or frame: those are at DEBUG, if anywhere.
"""

import logging
import sys
import time
from typing import Final, TextIO

LINE: Final = "%(asctime)s.%(msecs)03dZ %(levelname)-7s %(name)s: %(message)s"

QUIET_LIBRARIES: Final = ("asyncio", "grpc", "websockets")
"""Libraries that log connections as they come and go; only their warnings are worth a line."""


def configure(level: str, stream: TextIO | None = None) -> None:
    """
    Send log lines of ``level`` and above to standard error, warnings of Python included.

    Calling it again replaces what the call before has set up.

    Args:
        level: The least severity that is logged: DEBUG, INFO, WARNING or ERROR.
        stream: Where to; standard error if absent.
    """
    formatter = logging.Formatter(LINE, datefmt="%Y-%m-%dT%H:%M:%S")
    # UTC, so that lines of several machines can be laid side by side.
    formatter.converter = time.gmtime
    target = logging.StreamHandler(stream or sys.stderr)
    target.setFormatter(formatter)
    logging.basicConfig(level=level, handlers=[target], force=True)
    logging.captureWarnings(capture=True)
    for name in QUIET_LIBRARIES:
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLevelNamesMapping()[level]))
