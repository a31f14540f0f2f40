"""
What a replay says: its progress while it runs, and its summary, for people or as JSON.

Lives here: words and layout. Not here: any of the numbers. Writes to the terminal.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from typing import Final

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from evs_server.output import answering

FINDINGS_SHOWN: Final = 20


@dataclass(frozen=True, slots=True)
class Summary:
    """
    A replay and its audit; the names are the keys of ``--json``.

    Attributes:
        prints: Trades settled.
        events: Events that EVS was told: two for each trade, and the ticks.
        ticks: Ticks among them.
        rows: Rows in ``equity_timeseries`` of the accounts of this replay.
        accounts: Accounts, all of which were compared.
        mismatches: Facts that EVS or Postgres hold otherwise than the fold.
        identity_violations: Valuations in which equity and profit do not agree.
        conservation_breaches: Totals of cash or shares that trades have changed.
        refused: Events that EVS refused.
        seconds: From the first settlement until the last event was durable.
        events_per_second: Events by seconds.
        findings: The first of what is wrong, in words.
    """

    prints: int
    events: int
    ticks: int
    rows: int
    accounts: int
    mismatches: int
    identity_violations: int
    conservation_breaches: int
    refused: int
    seconds: float
    events_per_second: int
    findings: Sequence[str]

    @property
    def good(self) -> bool:
        """Whether nothing at all is wrong."""
        return not (self.mismatches or self.identity_violations or self.conservation_breaches or self.refused)


def print_summary(summary: Summary, *, as_json: bool) -> None:
    """
    Write a summary to standard output: a table, or one JSON object.

    Raises:
        OutputLost: If it is not there afterwards.
    """
    with answering():
        if as_json:
            sys.stdout.write(json.dumps(asdict(summary)) + "\n")
        else:
            _print_table(summary)


def _print_table(summary: Summary) -> None:
    console, table = Console(), Table("replay", "", title_justify="left")
    table.columns[1].justify = "right"
    for field in fields(summary):
        if field.name != "findings":
            table.add_row(field.name.replace("_", " "), f"{getattr(summary, field.name):,}")
    console.print(table)
    for finding in summary.findings:
        console.print(f"  {finding}", markup=False, highlight=False)
    console.print(
        "every account agrees with the fold of its trades" if summary.good else "the numbers do not agree",
        style="green" if summary.good else "bold red",
    )


class Bar:
    """Progress as one line that changes in place."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress = progress
        self._task = task

    def advance(self, print_count: int) -> None:
        """So many prints more are settled."""
        self._progress.advance(self._task, print_count)

    def turn_to(self, what: str) -> None:
        """From here on another thing is done than to settle prints, said in a word."""
        self._progress.update(self._task, description=what)


@contextmanager
def progress_bar(print_count: int, *, shown: bool) -> Iterator[Bar]:
    """
    A bar on standard error, if that is a terminal.

    Args:
        print_count: Prints in all.
        shown: False shows none in any case.
    """
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("prints"),
        TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console, disable=not (shown and console.is_terminal)) as progress:
        yield Bar(progress, progress.add_task("replaying", total=print_count))
