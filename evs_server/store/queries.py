"""
The store's SQL by name, read from ``queries.sql`` once, at import.

Lives here: finding and splitting the file. Not here: any SQL.
"""

import re
from collections.abc import Mapping
from importlib import resources
from typing import Final

_NAME: Final = re.compile(r"^-- name: (\w+)$", re.MULTILINE)
_COMMENT: Final = re.compile(r"^\s*--.*\n?", re.MULTILINE)


def split_queries(text: str) -> Mapping[str, str]:
    """
    Statements by name.

    Args:
        text: Each statement after a line ``-- name: NAME``; other lines that begin with ``--`` are for readers.

    Raises:
        ValueError: If a name comes twice.
    """
    parts = _NAME.split(text)[1:]
    names = parts[::2]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"queries.sql has more than one query named {', '.join(sorted(twice))}")
    # Without its last semicolon a statement can also stand inside COPY (...).
    statements = (_COMMENT.sub("", part).strip().rstrip(";") for part in parts[1::2])
    return dict(zip(names, statements, strict=True))


QUERIES: Final = split_queries(resources.files(__package__).joinpath("queries.sql").read_text(encoding="utf-8"))
