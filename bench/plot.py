"""
Lines over one pair of axes as SVG, drawn from lines and texts: no library, and it changes only where numbers do.

Both axes begin at 0 and are linear, so that what grows in proportion is straight. Beside each line a dashed one says
what its first point would come to in proportion: a cost that stays below it grows slower than what it depends on.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from xml.sax.saxutils import escape

WIDTH: Final = 760
HEIGHT: Final = 340
LEFT, RIGHT, TOP, BOTTOM = 84, 600, 40, 274
"""Where the axes are."""
INTERVALS: Final = 5
"""About as many between the numbers of an axis."""
COLOURS: Final = ("#2f81f7", "#d1704a", "#3fb950", "#a371f7", "#d29922", "#db61a2")
STYLE: Final = (
    "<style>text{font:13px system-ui,sans-serif;fill:#24292f}.t{font-weight:600}.g{stroke:#8c959f;stroke-width:1}"
    ".n{stroke:#8c959f;stroke-width:1;opacity:.25}.b{fill:#2f81f7}.w{fill:#d1704a}.l{fill:none;stroke-width:2}"
    ".p{stroke-width:1.5;stroke-dasharray:5 5;opacity:.7}"
    "@media(prefers-color-scheme:dark){text{fill:#e6edf3}.g,.n{stroke:#6e7681}}</style>"
)

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Plot:
    """
    Lines over one pair of axes.

    Attributes:
        title: What is measured.
        x: What it depends on, with its unit.
        y: The unit of what is measured.
        lines: Points by name, ascending, none at 0.
    """

    title: str
    x: str
    y: str
    lines: Mapping[str, Points]


@dataclass(frozen=True, slots=True)
class Axes:
    """Where a point lies: both axes begin at 0 and end at a round number."""

    x_step: float
    x_end: float
    y_step: float
    y_end: float

    @classmethod
    def over(cls, points: Points) -> "Axes":
        """Axes that have room for some points."""
        x_step, y_step = (round_step(max(column)) for column in zip(*points, strict=True))
        x_most, y_most = (max(column) for column in zip(*points, strict=True))
        return cls(x_step, x_step * math.ceil(x_most / x_step), y_step, y_step * math.ceil(y_most / y_step))

    def place(self, x: float, y: float) -> tuple[float, float]:
        """From numbers to where they are drawn."""
        return LEFT + (RIGHT - LEFT) * x / self.x_end, BOTTOM - (BOTTOM - TOP) * y / self.y_end


def svg(plot: Plot) -> str:
    """The plot as a file."""
    straight = {name: in_proportion(points) for name, points in plot.lines.items()}
    axes = Axes.over([point for points in (*plot.lines.values(), *straight.values()) for point in points])
    parts = [head(HEIGHT, plot.title), *_scales(plot, axes)]
    for index, (name, points) in enumerate(plot.lines.items()):
        parts += _line(name, points, straight[name], axes, COLOURS[index % len(COLOURS)])
    return "\n".join([*parts, "</svg>"]) + "\n"


def head(height: int, title: str) -> str:
    """How a picture of ours begins."""
    named = escape(title, {'"': "&quot;"})
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{named}">'
        f"<title>{named}</title>{STYLE}"
    )


def in_proportion(points: Points) -> Points:
    """What the first point would come to at the last one's place, from 0 on."""
    (first_x, first_y), (last_x, _) = points[0], points[-1]
    return [(0, 0), (last_x, first_y * last_x / first_x)]


def round_step(most: float) -> float:
    """The distance of the numbers on an axis that ends about there: 1, 2 or 5 of some power of ten."""
    power = 10.0 ** math.floor(math.log10(most / INTERVALS))
    return next(step * power for step in (1, 2, 5, 10) if step * power * INTERVALS >= most)


def _scales(plot: Plot, axes: Axes) -> Iterator[str]:
    yield f'<text class="t" x="{LEFT}" y="20">{escape(plot.title)}</text>'
    for x in _marks(axes.x_step, axes.x_end):
        across, _ = axes.place(x, 0)
        yield f'<line class="n" x1="{across:.1f}" y1="{TOP}" x2="{across:.1f}" y2="{BOTTOM}"/>'
        yield f'<text x="{across:.1f}" y="{BOTTOM + 20}" text-anchor="middle">{x:,.10g}</text>'
    for y in _marks(axes.y_step, axes.y_end):
        _, up = axes.place(0, y)
        yield f'<line class="n" x1="{LEFT}" y1="{up:.1f}" x2="{RIGHT}" y2="{up:.1f}"/>'
        yield f'<text x="{LEFT - 8}" y="{up + 4:.1f}" text-anchor="end">{y:,.10g}</text>'
    yield f'<line class="g" x1="{LEFT}" y1="{BOTTOM}" x2="{RIGHT}" y2="{BOTTOM}"/>'
    yield f'<line class="g" x1="{LEFT}" y1="{TOP}" x2="{LEFT}" y2="{BOTTOM}"/>'
    middle_x, middle_y = (LEFT + RIGHT) / 2, (TOP + BOTTOM) / 2
    yield f'<text x="{middle_x:.0f}" y="{BOTTOM + 46}" text-anchor="middle">{escape(plot.x)}</text>'
    turned = f'transform="rotate(-90 20 {middle_y:.0f})"'
    yield f'<text x="20" y="{middle_y:.0f}" text-anchor="middle" {turned}>{escape(plot.y)}</text>'


def _line(name: str, points: Points, straight: Points, axes: Axes, colour: str) -> Iterator[str]:
    (x1, y1), (x2, y2) = (axes.place(*point) for point in straight)
    yield f'<line class="p" stroke="{colour}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'
    places = [axes.place(*point) for point in points]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    yield f'<polyline class="l" stroke="{colour}" points="{path}"/>'
    for x, y in places:
        yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>'
    last_x, last_y = places[-1]
    # Where the two end close to each other, one name goes above and the other below.
    apart = max(0.0, 9 - abs(y2 - last_y) / 2) * (1 if last_y >= y2 else -1)
    yield f'<text x="{last_x + 10:.1f}" y="{last_y + 4 + apart:.1f}">{escape(name)}</text>'
    yield f'<text x="{x2 + 10:.1f}" y="{y2 + 4 - apart:.1f}">in proportion</text>'


def _marks(step: float, end: float) -> list[float]:
    return [step * number for number in range(round(end / step) + 1)]
