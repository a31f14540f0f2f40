"""What a process frees stays with it: the next flush finds memory that the system need not clear."""

import subprocess
import sys

import pytest

FLUSHES = """
import resource, sys
import numpy as np
from evs_server.heap import keep_freed_memory

print(keep_freed_memory() if "keep" in sys.argv else False)
def flush() -> None:
    columns = [np.ones(100_000, np.int64) for _ in range(10)]
flush()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    flush()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(*arguments: str) -> tuple[bool, int]:
    """Whether memory is kept, and how often twenty flushes have asked the system for a page."""
    said = subprocess.run([sys.executable, "-c", FLUSHES, *arguments], capture_output=True, text=True, check=True)
    kept, count = said.stdout.split()
    return kept == "True", int(count)


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc is told what to keep")
def test_flushes_use_the_same_memory_again_and_again() -> None:
    kept, count = faults("keep")
    if not kept:
        pytest.skip("this is another C library")
    assert count < faults()[1] // 10
