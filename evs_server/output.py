"""
Standard output, where the answer of a command goes. Touches it.

Lives here: that an answer is there, or else that somebody hears of it. Not here: what is answered, and log lines.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path


class OutputLost(Exception):
    """What was written to standard output is not there: it is closed, or what is behind it is full."""


@contextmanager
def answering() -> Iterator[None]:
    """
    A block that writes to standard output; on leaving it, by whatever way, all of that is written.

    Raises:
        OutputLost: If it is not.
        BrokenPipeError: If whoever reads has gone.
    """
    if sys.stdout is None:
        raise OutputLost("cannot write to standard output: it is closed")
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        # What was not written is written once more when Python ends, which would then have a status of its own.
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
        raise OutputLost(f"cannot write to standard output: {error.strerror}") from error


def answering_if_open() -> AbstractContextManager[None]:
    """The same where nobody need hear it: a standard output that is closed is no loss, one that is full is."""
    return nullcontext() if sys.stdout is None else answering()
