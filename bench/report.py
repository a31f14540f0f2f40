"""
The results as a table and plots in ``docs/PERFORMANCE.md``: everything between its two marks is written here.

Not here: what the numbers mean, which people write around them; how they are measured. Plots are SVG, drawn by hand
from lines and texts, so that they need no library and change only where numbers do. ``growth.json``, where there is
one, has lines by the name of their plot: ``{"plot": {"x": "accounts", "y": "ms", "lines": {"tick": [[1000, 0.1]]}}}``.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

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

WIDTH, BAR, LEFT = 760, 26, 230
STYLE: Final = (
    "<style>text{font:13px system-ui,sans-serif;fill:#24292f}.g{stroke:#8c959f;stroke-width:1}"
    ".b{fill:#2f81f7}.w{fill:#d1704a}.l{fill:none;stroke-width:2}"
    "@media(prefers-color-scheme:dark){text{fill:#e6edf3}.g{stroke:#6e7681}}</style>"
)
COLOURS: Final = ("#2f81f7", "#d1704a", "#3fb950", "#a371f7", "#d29922", "#db61a2")

Results = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Plot:
    """Lines over one pair of axes; each a list of points."""

    x: str
    y: str
    lines: Mapping[str, Sequence[tuple[float, float]]]


def main() -> None:
    """Write the table, the plots, and the page around them."""
    results: Results = json.loads((RESULTS / "latest.json").read_text())
    PLOTS.mkdir(exist_ok=True)
    (PLOTS / "targets.svg").write_text(targets_svg(results))
    growth_file = RESULTS / "growth.json"
    growth = json.loads(growth_file.read_text()) if growth_file.exists() else {}
    for name, plot in growth.items():
        (PLOTS / f"{name}.svg").write_text(lines_svg(name, Plot(**plot)))
    page = PAGE.read_text()
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    assert after, f"{PAGE.name} has no place for the results: expected {BEGIN!r} and {END!r}"
    PAGE.write_text(f"{before}{BEGIN}\n\n{written(results, sorted(growth))}\n{END}{after}")


def written(results: Results, plots: Sequence[str]) -> str:
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
        *(f"![{name}](performance/{name}.svg)" for name in plots),
    ]
    return "\n".join(lines) + "\n"


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
    parts = [_head(height, "Share of the target that each case takes")]
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


def lines_svg(name: str, plot: Plot) -> str:
    """Lines from the origin to the largest point, with the ends of both axes named."""
    height, bottom, right = 320, 270, WIDTH - 150
    x_max = max(x for points in plot.lines.values() for x, _ in points)
    y_max = max(y for points in plot.lines.values() for _, y in points)
    parts = [
        _head(height, name),
        f'<line class="g" x1="60" y1="{bottom}" x2="{right}" y2="{bottom}"/>',
        f'<line class="g" x1="60" y1="20" x2="60" y2="{bottom}"/>',
        f'<text x="{right}" y="{bottom + 20}" text-anchor="end">{x_max:,.0f} {plot.x}</text>',
        f'<text x="60" y="14">{y_max:,.4g} {plot.y}</text><text x="54" y="{bottom + 20}">0</text>',
    ]
    for index, (label, points) in enumerate(plot.lines.items()):
        colour = COLOURS[index % len(COLOURS)]
        places = [(60 + (right - 60) * x / x_max, bottom - (bottom - 20) * y / y_max) for x, y in points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(f'<polyline class="l" stroke="{colour}" points="{path}"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in places]
        parts.append(f'<text x="{right + 8}" y="{places[-1][1] + 4:.1f}">{label}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _head(height: int, title: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{title}">'
        f"<title>{title}</title>{STYLE}"
    )


if __name__ == "__main__":
    main()
