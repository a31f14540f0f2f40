"""
``evs replay`` of a day of four stocks, to durable, against merely decoding the same files (``replay/day``).

Ours is the command as anybody runs it, with EVS and a database of its own that does not wait for the disk: each print
is settled between two of 200 accounts in the exchange's tables, both legs are sent, a tick is completed for each second
of market time, and all of it is durable in the end. Its own clock counts, from the first trade to the last event
durable; its audit must find nothing. The yardstick unpacks the same files and makes numbers of them in market order.

The files are those in the folder that ``EVS_BENCH_PRINTS`` names (``SYMBOL/YYYYMMDD_trade.zip``, of one day); without
it, an eighth of a day like them is made up, or, with ``--full``, a whole one. Left out: starting, and the audit.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from bench.command import run
from bench.harness import Result, Sample, measure, timed
from bench.prints import a_day
from bench.yardsticks import bare_prints

ROUNDS: Final = 3
PART: Final = 8
PRINTS: Final = "EVS_BENCH_PRINTS"
PATIENCE_SECONDS: Final = 600


async def main(rounds: int = ROUNDS, part: int = PART) -> list[Result]:
    """Measure; the result."""
    with tempfile.TemporaryDirectory() as folder:
        return [measured(*prints(Path(folder), part), rounds)]


def prints(folder: Path, part: int) -> tuple[list[Path], str]:
    """Files to replay, and what they are: real ones where there are some, or part of a day, made in a folder."""
    given = os.environ.get(PRINTS)
    if given is None:
        return a_day(folder, part), "prints made up, " + ("a whole day" if part == 1 else f"1/{part} of a day")
    found = sorted(Path(given).rglob("*_trade.zip"))
    assert found, f"{PRINTS} is {given}: expected a folder with files such as ibm/20131007_trade.zip"
    return found, "real prints"


def measured(paths: Sequence[Path], what: str, rounds: int) -> Result:
    """The case of some files."""
    told: list[dict[str, Any]] = []

    def ours(_number: int) -> Sample:
        told.append(replayed(paths))
        return Sample(told[-1]["seconds"] / told[-1]["events"], told[-1]["prints"])

    def theirs(_number: int) -> Sample:
        sample = timed(lambda: bare_prints.decode(paths).prints)
        return Sample(sample.cost / told[0]["events"], sample.output)

    result = measure("replay/day", ours, theirs, rounds=rounds, unit="us")
    last = told[-1]
    size = f"{last['prints']:,} {what}, {last['events']:,} events, {last['rows']:,} rows"
    return replace(result, note=f"per event; {1e6 / result.ours:,.0f} events a second to durable; {size}")


def replayed(paths: Sequence[Path]) -> dict[str, Any]:
    """What the command says of a replay that it found good."""
    command = [str(Path(sys.executable).with_name("evs")), "replay", "--json", *map(str, paths)]
    env = {name: value for name, value in os.environ.items() if not name.startswith("EVS_")}
    done = subprocess.run(command, env=env, capture_output=True, check=False, timeout=PATIENCE_SECONDS)  # noqa: S603 -- ours
    assert done.returncode == 0, f"evs replay ended with {done.returncode}: {done.stdout!r} {done.stderr[-2_000:]!r}"
    summary: dict[str, Any] = json.loads(done.stdout)
    return summary


if __name__ == "__main__":
    run(main, rounds=ROUNDS, part=1)
