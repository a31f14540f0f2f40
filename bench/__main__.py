"""
All benchmarks, one after the other, each in a process of its own, and the report of their results.

``python -m bench`` takes about five minutes, ``python -m bench --full`` longer; names after it choose some.
"""

import subprocess
import sys
import time

from rich.console import Console

from bench.command import FULL

CASES = (
    "tick", "trades", "memory", "growth", "unary", "stream", "persistence", "fanout", "end_to_end", "latency",
    "startup", "history", "leaderboard",
)  # fmt: skip


def main() -> int:
    """The exit status: 1 if one of them has failed; the others are run all the same."""
    chosen = [name for name in sys.argv[1:] if name != FULL] or CASES
    options = [FULL] if FULL in sys.argv else []
    console, failed, began = Console(), [], time.monotonic()
    for name in chosen:
        console.rule(name)
        if subprocess.run([sys.executable, "-m", f"bench.{name}", *options], check=False).returncode:  # noqa: S603 -- ourselves
            failed.append(name)
    subprocess.run([sys.executable, "-m", "bench.report"], check=True)
    console.print(
        f"{len(chosen)} benchmarks in {time.monotonic() - began:.0f} s; failed: {', '.join(failed) or 'none'}"
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
