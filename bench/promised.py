"""
The names that DESIGN 9 promises, by the benchmark that measures them. They are followed over time: none may go.

A benchmark that ends without one of its names has failed; what else it measures, it may name and rename as it likes.
"""

from collections.abc import Mapping
from typing import Final

PROMISED: Final[Mapping[str, tuple[str, ...]]] = {
    "tick": (
        "tick_1/compiled", "tick_10/compiled", "tick_100/compiled", "tick_all/compiled", "tick_1/postgres",
        "tick_1/python", "tick_1/pathway",
    ),
    "unary": ("unary/empty_rpc",),
    "stream": ("stream/decode",),
    "persistence": ("copy/bare", "copy/insert"),
    "fanout": ("bridge/bare_frame",),
    "end_to_end": ("end_to_end/bare_chain",),
    "memory": ("memory/bytes_per_position",),
    "startup": ("startup/bare_fetch",),
}  # fmt: skip

MAY_BE_LEFT_OUT: Final = frozenset({"tick_1/pathway"})
"""Pathway has no wheel for every platform; where it cannot be installed, the benchmark says so and goes on."""
