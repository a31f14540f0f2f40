"""
The benchmark suite, but for what it measures: which names it promises, how it compares, what it writes.

Nothing here takes a time: `make bench` does.
"""

import json
import re
import tomllib
from itertools import count
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from bench import pathway, report
from bench.__main__ import CASES
from bench.harness import RESULTS, Result, Sample, measure, play_async, record, result, single
from bench.plot import Plot, in_proportion, round_step, svg
from bench.prints import STOCKS, a_day
from bench.promised import MAY_BE_LEFT_OUT, PROMISED
from bench.world import Size, a_world
from bench.yardsticks import bare_prints
from evs_server.exchange.prints import Tape

ROOT = Path(__file__).resolve().parents[2]
LATEST: dict[str, dict[str, Any]] = json.loads(RESULTS.read_text())

DESIGN = {
    "tick_1/compiled", "tick_10/compiled", "tick_100/compiled", "tick_all/compiled", "tick_1/postgres", "tick_1/python",
    "tick_1/pathway", "unary/empty_rpc", "stream/decode", "copy/bare", "copy/insert", "bridge/bare_frame",
    "end_to_end/bare_chain", "memory/bytes_per_position", "startup/bare_fetch",
}  # fmt: skip
"""The names in the results, so that they can be followed over time (DESIGN 9)."""

FIELDS = {"ours", "yardstick", "ratio", "unit", "rounds"}
A_PLOT = Plot("A cost <of> one", "things & others", "ms", {"line": [(1_000, 2.0), (10_000, 15.0)]})


# --- names -------------------------------------------------------------------------------------------------------


def test_the_suite_promises_the_names_of_the_design() -> None:
    """Each of them, once, and no other; which benchmark measures it may change, its name may not."""
    promised = [name for names in PROMISED.values() for name in names]
    assert sorted(DESIGN) == sorted(promised)
    assert MAY_BE_LEFT_OUT < DESIGN


def test_every_promise_is_that_of_a_benchmark_which_is_run() -> None:
    assert set() == set(PROMISED) - set(CASES)
    assert [] == [name for name in CASES if not (ROOT / "bench" / f"{name}.py").exists()]


def test_every_target_is_that_of_a_promised_name() -> None:
    """A ratio that we hold ourselves to must be measured."""
    assert set() == set(report.TARGETS) - DESIGN


def test_the_last_results_have_every_name_with_its_fields() -> None:
    assert set() == DESIGN - MAY_BE_LEFT_OUT - set(LATEST)
    assert [] == [name for name, entry in LATEST.items() if not entry.keys() >= FIELDS]


def test_a_ratio_is_ours_over_the_yardstick() -> None:
    """But for the digits that the file leaves out."""
    told = {name: entry["ratio"] for name, entry in LATEST.items()}
    assert told == pytest.approx({name: each["ours"] / each["yardstick"] for name, each in LATEST.items()}, rel=0.01)


def test_the_page_has_every_result_as_the_file_has_it() -> None:
    """Whoever writes the one writes the other, and never by hand."""
    page = report.PAGE.read_text()
    assert [] == [name for name, entry in LATEST.items() if f"\n{report.row(name, entry)}\n" not in page]


# --- comparing ---------------------------------------------------------------------------------------------------


def test_sides_take_turns_at_going_first_and_the_first_round_does_not_count() -> None:
    order = []

    def side(name: str, costs: list[float]) -> Any:
        def sample(number: int) -> Sample:
            order.append(name)
            return Sample(costs[number], number)

        return sample

    measured = measure("case", side("ours", [9, 1, 2, 3]), side("bare", [9, 2, 4, 8]), rounds=3, unit="s")
    assert ["ours", "bare", "bare", "ours", "ours", "bare", "bare", "ours"] == order
    assert (2.0, 4.0, 0.5, 3) == (measured.ours, measured.yardstick, measured.ratio, measured.rounds)
    assert (1.5, 2.5) == measured.ours_spread


async def test_one_play_tells_several_costs() -> None:
    async def ours(number: int) -> Sample:
        return Sample(2.0, number, cpu=1.0)

    async def bare(number: int) -> Sample:
        return Sample(1.0, number, cpu=0.25)

    played = await play_async("case", ours, bare, rounds=2)
    assert (2.0, 4.0) == (result("a", played).ratio, result("b", played, cost=lambda sample: sample.cpu).ratio)


def test_sides_that_do_not_agree_are_no_result() -> None:
    """Whoever makes something else of the inputs may well be faster."""
    numbers = count()
    with pytest.raises(AssertionError, match="case, round 0: ours and the yardstick do not agree"):
        measure("case", lambda _: Sample(1.0, next(numbers)), lambda _: Sample(1.0, next(numbers)), rounds=1)


def test_results_take_the_place_of_earlier_ones_of_their_name(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    record([single("one", 1, 2, unit="bytes"), single("two", 1, 2, unit="bytes")], path)
    record([single("two", 3, 2, unit="bytes", note="later")], path)
    written = json.loads(path.read_text())
    assert (0.5, 1.5, "later") == (written["one"]["ratio"], written["two"]["ratio"], written["two"]["note"])
    assert FIELDS < written["one"].keys()
    assert FIELDS < set(Result.__slots__)


# --- what is shown -----------------------------------------------------------------------------------------------


def test_a_plot_names_its_axes_and_says_what_would_be_in_proportion() -> None:
    """And is one that a browser can read, whatever stands in its texts."""
    texts = [element.text for element in ET.fromstring(svg(A_PLOT)).iter() if element.text]
    assert {"A cost <of> one", "things & others", "ms", "line", "in proportion"} <= set(texts)
    assert {"0", "2,000", "10,000", "5", "20"} <= set(texts)
    assert [(0, 0), (10_000, 20.0)] == in_proportion(A_PLOT.lines["line"])


@pytest.mark.parametrize(("step", "most"), [(0.02, 0.06), (0.2, 1.0), (5, 11.5), (5, 25), (20_000, 100_000)])
def test_the_numbers_on_an_axis_are_round(step: float, most: float) -> None:
    assert step == pytest.approx(round_step(most))


def test_the_page_says_by_how_much_a_cost_has_grown() -> None:
    lines = list(report.growth_lines({"growth_ones": A_PLOT}))
    assert "| A cost <of> one | 1,000 | 10,000 things & others | 10 | 2 to 15 ms | 7.5 |" in lines
    assert "![A cost <of> one](performance/growth_ones.svg)" in lines


# --- inputs ------------------------------------------------------------------------------------------------------


def test_a_day_of_prints_is_one_that_a_replay_takes(tmp_path: Path) -> None:
    """As many prints as it says, and the same whoever makes it; the yardstick reads what the replay reads."""
    (tmp_path / "once").mkdir()
    (tmp_path / "again").mkdir()
    once, again = a_day(tmp_path / "once", part=500), a_day(tmp_path / "again", part=500)
    tape = Tape.checked(once)
    assert sum(stock.prints // 500 for stock in STOCKS) == tape.print_count
    assert list(tape) == list(Tape.checked(again))
    shares = sum(each.quantity_bp for each in tape) // 10_000
    assert (tape.print_count, shares) == bare_prints.decode(once)


def test_pathway_is_given_the_whole_world(tmp_path: Path) -> None:
    pathway.write_tables(a_world(Size(accounts=3, positions_per_account=2, symbols=4)), tmp_path)
    assert 1 + 3 == len((tmp_path / "accounts.csv").read_text().splitlines())
    assert 1 + 3 * 2 == len((tmp_path / "positions.csv").read_text().splitlines())
    assert list(range(4)) == [symbol for symbol, _ in json.loads((tmp_path / "prices.json").read_text())]


def test_without_an_environment_there_is_no_pathway(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(pathway, "PYTHON", tmp_path / "python")
    assert not pathway.is_there()


def test_what_we_are_measured_against_is_pinned() -> None:
    """Its versions and hashes are written down, and no place to get them from is."""
    lock = (ROOT / "requirements-bench.lock").read_text()
    [wanted] = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]["bench"]
    name = re.split(r"\W", wanted)[0]
    pinned = re.findall(r"^([\w.-]+)==\S+ (?:; .* )?\\\n    --hash=sha256:[0-9a-f]{64}", lock, re.MULTILINE)
    named = re.findall(r"^\w.*$", lock, re.MULTILINE)
    assert name in pinned
    assert len(named) == len(pinned)
    assert "://" not in lock
