"""The benchmarks of a cluster, but for what they measure: that they are there, and what is made of their counts."""

import json
from pathlib import Path
from typing import Any

import pytest

from bench import report
from bench.__main__ import CASES, CLUSTER_CASES
from bench.cluster_table import COLUMNS, OF_WORKER, QUANTITIES, SHARED_OUT, WORKERS, table_lines

BENCH = Path(report.__file__).parent
COUNTED: dict[str, Any] = json.loads((BENCH / "results" / "cluster.json").read_text())


def test_the_benchmarks_of_a_cluster_are_there_and_not_among_the_five_minutes() -> None:
    assert [] == [name for name in CLUSTER_CASES if not (BENCH / f"{name}.py").exists()]
    assert set() == set(CLUSTER_CASES) & set(CASES)


def test_a_table_has_a_line_for_each_quantity_and_a_column_for_each_number_of_workers() -> None:
    counts: dict[str, dict[str, float | None]] = {name: dict.fromkeys(COLUMNS, 12_345.6) for name in QUANTITIES}
    counts["messages"] |= {"one process": None, "virtual shard": 3.25}
    load, _, head, _, first, *rest = table_lines(
        {"load": "A load", "log": {"messages": 66, "bytes": 9.5}, "counts": counts}
    )
    assert "A load. The log takes 66 messages, 9.5 bytes." == load
    assert "| 1 worker | 2 workers | 4 workers | 8 workers | 16 workers | virtual shard |" in head
    assert f"| {QUANTITIES['messages']} |  {'| 12,346 ' * 6}| 3.2 |" == first
    assert len(QUANTITIES) == len(rest)


@pytest.mark.parametrize("load", COUNTED["loads"], ids=lambda load: load["load"][:10])
def test_the_page_has_the_counts_and_workers_share_what_is_counted(load: dict[str, Any]) -> None:
    """Twice the workers have half of the work each, but for what does not divide evenly."""
    assert "\n".join(table_lines(load)) in report.PAGE.read_text()
    for name in SHARED_OUT:
        counts = load["counts"][name]
        assert counts["1 worker"] == pytest.approx(counts["all shards"]), name
        for count in WORKERS[1:]:
            assert counts["all shards"] / count <= counts[f"{count} workers"] <= 1.1 * counts["all shards"] / count, (
                name
            )


@pytest.mark.parametrize("load", COUNTED["loads"], ids=lambda load: load["load"][:10])
def test_virtual_shards_of_one_worker_are_committed_together(load: dict[str, Any]) -> None:
    """One transaction each, of hardly more statements than that of one process: a few of them are for each slice."""
    transactions, statements = (load["counts"][name] for name in OF_WORKER)
    assert {1.0} == {transactions[column] for column in ("one process", *(f"{count} workers" for count in WORKERS[1:]))}
    for count in WORKERS[1:]:
        assert statements[f"{count} workers"] <= statements["one process"] + 3 * 64 / count
