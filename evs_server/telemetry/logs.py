"""
How EVS logs: one line for each thing worth knowing, as text or as JSON, to standard error.

Lives here: the set-up of Python's logging, done once by a command. Not here: what is logged (each shell says its own),
and no line per event, tick or frame: those are at DEBUG, if anywhere.
"""

import json
import logging
import sys
import time
from typing import Final, Literal, TextIO

from evs_server.telemetry.trace import current_trace_id

LINE: Final = "%(asctime)s.%(msecs)03dZ %(levelname)-7s %(name)s: %(message)s"

TIME: Final = "%Y-%m-%dT%H:%M:%S"
"""In UTC, so that lines of several machines can be laid side by side."""

QUIET_LIBRARIES: Final = ("asyncio", "grpc", "websockets")
"""Libraries that log connections as they come and go; only their warnings are worth a line."""

Format = Literal["text", "json"]


def configure(level: str, form: Format = "text", stream: TextIO | None = None) -> None:
    """
    Send log lines of ``level`` and above to standard error, warnings of Python included.

    Calling it again replaces what the call before has set up.

    Args:
        level: The least severity that is logged: DEBUG, INFO, WARNING or ERROR.
        form: Lines for people, or objects for programs.
        stream: Where to; standard error if absent.
    """
    target = logging.StreamHandler(stream or sys.stderr)
    target.setFormatter(_Text() if form == "text" else _Json())
    logging.basicConfig(level=level, handlers=[target], force=True)
    logging.captureWarnings(capture=True)
    for name in QUIET_LIBRARIES:
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLevelNamesMapping()[level]))


class _Text(logging.Formatter):
    """Time in UTC, severity, room, message and, within a call that has one, its trace."""

    def __init__(self) -> None:
        super().__init__(LINE, datefmt=TIME)
        self.converter = time.gmtime

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 -- the library's name
        line = super().formatMessage(record)
        trace_id = current_trace_id()
        return f"{line} trace_id={trace_id}" if trace_id else line


class _Json(logging.Formatter):
    """The same as an object in one line, a stack included."""

    def __init__(self) -> None:
        super().__init__(datefmt=TIME)
        self.converter = time.gmtime

    def format(self, record: logging.LogRecord) -> str:
        told = {
            "time": f"{self.formatTime(record, self.datefmt)}.{int(record.msecs):03d}Z",
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if trace_id := current_trace_id():
            told["trace_id"] = trace_id
        if record.exc_info:
            told["stack"] = self.formatException(record.exc_info)
        return json.dumps(told)
