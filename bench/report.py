"""
The results as a table and plots in ``docs/PERFORMANCE.md``: everything between its two marks is written here.

Not here: what the numbers mean, which people write around them; how they are measured, and how lines are drawn
(``plot``). ``growth.json``, where there is one, has plots by name, with ``machine`` and ``date`` as each result has;
``cluster.json`` what of a cluster is counted.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from bench.cluster_table import table_lines
from bench.plot import WIDTH, Plot, head, svg

RESULTS: Final = Path(__file__).with_name("results")
PAGE: Final = Path(__file__).parents[1] / "docs" / "PERFORMANCE.md"
PLOTS: Final = PAGE.parent / "performance"
BEGIN: Final = "<!-- results: written by `python -m bench.report` -->"
END: Final = "<!-- end of results -->"

TARGETS: Final[Mapping[str, float]] = {
    **{f"tick_{count}/compiled": 2.0 for count in ("1", "10", "100", "all")},
    "tick_1/postgres": 1 / 300,
    "tick_1/python": 1 / 50,
    "unary/empty_rpc": 1.15,
    "stream/decode": 1 / 0.6,
    "copy/bare": 1 / 0.85,
    "bridge/bare_frame": 1.3,
    "memory/bytes_per_position": 1.0,
}
"""The most that the ratio may be (DESIGN 9)."""

BAR, LEFT = 26, 230

Results = Mapping[str, Mapping[str, Any]]


def main() -> None:
    """Write the table, the plots, and the page around them."""
    results: Results = json.loads((RESULTS / "latest.json").read_text())
    PLOTS.mkdir(exist_ok=True)
    (PLOTS / "targets.svg").write_text(targets_svg(results))
    growth_file = RESULTS / "growth.json"
    growth = plots(json.loads(growth_file.read_text())) if growth_file.exists() else {}
    cluster_file = RESULTS / "cluster.json"
    cluster = json.loads(cluster_file.read_text())["loads"] if cluster_file.exists() else ()
    for name, plot in growth.items():
        (PLOTS / f"{name}.svg").write_text(svg(plot))
    page = PAGE.read_text()
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    assert after, f"{PAGE.name} has no place for the results: expected {BEGIN!r} and {END!r}"
    PAGE.write_text(f"{before}{BEGIN}\n\n{written(results, growth, cluster)}\n{END}{after}")


def written(results: Results, growth: Mapping[str, Plot], cluster: Sequence[Mapping[str, Any]] = ()) -> str:
    """The part of the page that is made of results."""
    machines = sorted({f"{each['machine']} ({each['date']})" for each in results.values() if "machine" in each})
    lines = [
        *(f"Measured on {machine}." for machine in machines),
        "",
        "![How far each case is from its target](performance/targets.svg)",
        "",
        "| case | ours | yardstick | unit | ratio | quartiles | at most | rounds | |",
        "|---|--:|--:|---|--:|---|--:|--:|---|",
        *(row(name, results[name]) for name in sorted(results, key=lambda name: (name not in TARGETS, name))),
        "",
        *(growth_lines(growth) if growth else ()),
        *(cluster_lines(cluster) if cluster else ()),
    ]
    return "\n".join(lines) + "\n"


def plots(measured: Mapping[str, Mapping[str, Any]]) -> dict[str, Plot]:
    """The plots of ``growth.json``, by name."""
    return {name: Plot(each["title"], each["x"], each["y"], each["lines"]) for name, each in measured.items()}


def growth_lines(growth: Mapping[str, Plot]) -> Iterator[str]:
    """By how much each cost has grown with what it depends on, and the plots of it."""
    yield from (
        "### Growth",
        "",
        "| | from | to | times as many | cost | times the cost |",
        "|---|--:|--:|--:|---|--:|",
    )
    for plot in growth.values():
        for points in plot.lines.values():
            (least, first), (most, last) = points[0], points[-1]
            cost = f"{first:,.3g} to {last:,.3g} {plot.y}"
            yield f"| {plot.title} | {least:,} | {most:,} {plot.x} | {most / least:.3g} | {cost} | {last / first:.3g} |"
    yield ""
    yield from (f"![{plot.title}](performance/{name}.svg)" for name, plot in growth.items())
    yield ""


def cluster_lines(counted: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """What a cluster has to do for the same events, by how many workers share it; the same on any machine."""
    yield from ("### A cluster, counted", "")
    for each in counted:
        yield from table_lines(each)


def row(name: str, result: Mapping[str, Any]) -> str:
    """One case as a row of the table."""
    low, high = result.get("ratio_spread", (result["ratio"], result["ratio"]))
    target = f"{TARGETS[name]:.4g}" if name in TARGETS else ""
    cells = (
        f"`{name}`",
        f"{result['ours']:,.4g}",
        f"{result['yardstick']:,.4g}",
        result["unit"],
        f"{result['ratio']:.3g}",
        f"{low:.3g} to {high:.3g}",
        target,
        str(result["rounds"]),
        str(result.get("note", "")),
    )
    return f"| {' | '.join(cells)} |"


def targets_svg(results: Results) -> str:
    """A bar for each case that has a target: how much of what it may take it takes; the line is the target."""
    cases = [(name, results[name]["ratio"] / target) for name, target in TARGETS.items() if name in results]
    height = BAR * (len(cases) + 1)
    scale = (WIDTH - LEFT - 60) / max([1.25, *(min(share, 4.0) for _, share in cases)])
    parts = [head(height, "Share of the target that each case takes")]
    for index, (name, share) in enumerate(cases):
        top = BAR * index + 6
        kind, length = "b" if share <= 1 else "w", scale * min(share, 4.0)
        parts.append(f'<text x="{LEFT - 8}" y="{top + 13}" text-anchor="end">{name}</text>')
        parts.append(f'<rect class="{kind}" x="{LEFT}" y="{top}" width="{length:.1f}" height="{BAR - 8}" rx="3"/>')
        parts.append(f'<text x="{LEFT + length + 6:.1f}" y="{top + 13}">{share:.2f}</text>')
    target = LEFT + scale
    parts.append(f'<line class="g" x1="{target:.1f}" y1="0" x2="{target:.1f}" y2="{height - BAR + 6}"/>')
    parts.append(f'<text x="{target:.1f}" y="{height - 6}" text-anchor="middle">target</text></svg>')
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    main()
