"""What every benchmark does as a command: measure, show, record; longer if ``--full`` is on the command line."""

import asyncio
import sys
from collections.abc import Callable, Coroutine
from typing import Any

from bench.harness import Result, record, show

FULL = "--full"


def run(main: Callable[..., Coroutine[Any, Any, list[Result]]], **full: Any) -> None:
    """
    Measure, print a table, and write the results.

    Args:
        main: Measures.
        full: Its arguments with ``--full``.
    """
    measured = asyncio.run(main(**full) if FULL in sys.argv else main())
    show(measured)
    record(measured)
