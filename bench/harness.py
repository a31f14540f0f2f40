"""
How a case is measured: ours and its yardstick in turn, on the same inputs, in the same process and the same minute.

A side is a function of the round's number that prepares what is not to be timed, runs what is, and returns a
``Sample``: its cost, and what it made of the inputs. The first round warms up both and does not count; then each round
runs both, the one that goes first changing by turns, and compares what they made. A machine that is busy or throttled
slows both alike, so that the ratio is worth more than either of the times.

Where one round tells two things, such as the time and the processor's, ``play_async`` plays the rounds once and
``result`` reads each of them.

Results are merged into ``results/latest.json`` by name (DESIGN 9): ``ours`` and ``yardstick`` (medians), ``ratio``
(ours over yardstick), ``unit``, ``rounds``; ``*_spread`` are the quartiles of the rounds; ``machine`` and ``date`` say
where and when.
"""

import gc
import json
import operator
import os
import platform
import statistics
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

from rich.console import Console
from rich.table import Table

RESULTS: Final = Path(__file__).with_name("results") / "latest.json"
SCALE: Final = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}
"""By unit, what a sample in seconds is multiplied by; a sample in any other unit is taken as it is."""
WIDE: Final = 180
DIGITS: Final = 5
"""Significant ones; the rest is noise."""


class Sample(NamedTuple):
    """
    What one side did in one round.

    Attributes:
        cost: In seconds, unless the case's unit is no time.
        output: What it made of the inputs.
        cpu: Processor time in seconds, where the case tells of it.
    """

    cost: float
    output: Any = None
    cpu: float = 0.0


Round = tuple[Sample, Sample]
"""Of ours and of the yardstick."""


class Spread(NamedTuple):
    """Lower and upper quartile of the rounds."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Result:
    """One case, as ``latest.json`` has it; below 1 the ratio says that ours is cheaper."""

    name: str
    ours: float
    yardstick: float
    ratio: float
    unit: str
    rounds: int
    ours_spread: Spread
    yardstick_spread: Spread
    ratio_spread: Spread
    note: str = ""


def timed(run: Callable[[], object]) -> Sample:
    """The sample of one call."""
    began = time.perf_counter()
    output = run()
    return Sample(time.perf_counter() - began, output)


async def timed_async(run: Callable[[], Awaitable[object]]) -> Sample:
    """The sample of one call that is awaited."""
    began = time.perf_counter()
    output = await run()
    return Sample(time.perf_counter() - began, output)


def measure(
    name: str,
    ours: Callable[[int], Sample],
    yardstick: Callable[[int], Sample],
    *,
    rounds: int,
    unit: str = "ms",
    agree: Callable[[Any, Any], bool] = operator.eq,
    note: str = "",
) -> Result:
    """
    A case whose sides are plain functions of the round's number.

    Args:
        rounds: How many count; round 0, which only warms up, comes on top.
        agree: Whether the outputs of ours and of the yardstick are the same, judged every round, untimed.
    """
    gc.collect()
    played = []
    for number in range(rounds + 1):
        if number % 2:
            second = yardstick(number)
            first = ours(number)
        else:
            first = ours(number)
            second = yardstick(number)
        played.append(_agreed(name, number, (first, second), agree))
    return result(name, played[1:], unit=unit, note=note)


async def measure_async(
    name: str,
    ours: Callable[[int], Awaitable[Sample]],
    yardstick: Callable[[int], Awaitable[Sample]],
    *,
    rounds: int,
    unit: str = "ms",
    agree: Callable[[Any, Any], bool] = operator.eq,
    note: str = "",
) -> Result:
    """A case whose sides are awaited; otherwise as ``measure``."""
    return result(name, await play_async(name, ours, yardstick, rounds=rounds, agree=agree), unit=unit, note=note)


async def play_async(
    name: str,
    ours: Callable[[int], Awaitable[Sample]],
    yardstick: Callable[[int], Awaitable[Sample]],
    *,
    rounds: int,
    agree: Callable[[Any, Any], bool] = operator.eq,
) -> list[Round]:
    """The rounds that count of a case whose sides are awaited, of which ``result`` makes one result or several."""
    gc.collect()
    played = []
    for number in range(rounds + 1):
        if number % 2:
            second = await yardstick(number)
            first = await ours(number)
        else:
            first = await ours(number)
            second = await yardstick(number)
        played.append(_agreed(name, number, (first, second), agree))
    return played[1:]


def single(name: str, ours: float, yardstick: float, *, unit: str, note: str = "") -> Result:
    """A case that is the same however often it is measured, such as bytes."""
    return result(name, [(Sample(ours), Sample(yardstick))], unit=unit, note=note)


def result(
    name: str,
    played: Sequence[Round],
    *,
    unit: str = "ms",
    note: str = "",
    cost: Callable[[Sample], float] = operator.attrgetter("cost"),
) -> Result:
    """
    A case as rounds have shown it: medians, and quartiles beside them.

    Args:
        cost: Which of a sample's numbers is the case's.
    """
    scale = SCALE.get(unit, 1.0)
    ours = [scale * cost(mine) for mine, _ in played]
    yardstick = [scale * cost(other) for _, other in played]
    ratios = [mine / other for mine, other in zip(ours, yardstick, strict=True)]
    median, bare = statistics.median(ours), statistics.median(yardstick)
    return Result(
        name,
        _significant(median),
        _significant(bare),
        _significant(median / bare),
        unit,
        len(played),
        _spread(ours),
        _spread(yardstick),
        _spread(ratios),
        note,
    )


def record(results: Iterable[Result], path: Path = RESULTS) -> None:
    """Merge results into the file, each in the place of the earlier one of its name."""
    known = json.loads(path.read_text()) if path.exists() else {}
    for result in results:
        entry = asdict(result)
        known[entry.pop("name")] = {**entry, "date": today(), "machine": machine()}
    path.write_text(json.dumps(known, indent=2, sort_keys=True) + "\n")


def show(results: Sequence[Result]) -> None:
    """Print results as a table."""
    table = Table("case", "ours", "yardstick", "unit", "ratio", "quartiles", "rounds", "note")
    for each in results:
        quartiles = f"{each.ratio_spread.low:.3g} to {each.ratio_spread.high:.3g}"
        table.add_row(
            each.name, f"{each.ours:,.3f}", f"{each.yardstick:,.3f}", each.unit, f"{each.ratio:.4g}", quartiles,
            str(each.rounds), each.note,
        )  # fmt: skip
    console = Console()
    # Where nobody says how wide it is, wide enough for the longest note.
    (console if console.is_terminal else Console(width=WIDE)).print(table)


def today() -> str:
    """The date of what is measured now."""
    return f"{datetime.now(UTC):%Y-%m-%d}"


def machine() -> str:
    """What the numbers were taken on, in one line."""
    names = [line for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    model = names[0].partition(":")[2].strip() if names else platform.machine()
    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{model}, {os.cpu_count()} cores, {memory_gb:.0f} GiB, {platform.system()} {platform.release()},"
        f" Python {platform.python_version()}"
    )


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if Path(path).exists() else []


def _agreed(name: str, number: int, played: Round, agree: Callable[[Any, Any], bool]) -> Round:
    ours, yardstick = played
    assert agree(ours.output, yardstick.output), f"{name}, round {number}: ours and the yardstick do not agree"
    return played


def _spread(values: Sequence[float]) -> Spread:
    if len(values) < 2:
        return Spread(_significant(values[0]), _significant(values[0]))
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return Spread(_significant(low), _significant(high))


def _significant(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")
