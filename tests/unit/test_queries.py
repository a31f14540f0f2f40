"""The file of named statements, and how it is read."""

import pytest

from evs_server.store.queries import QUERIES, split_queries


def test_a_statement_goes_by_the_name_above_it() -> None:
    text = "-- For readers; with a semicolon.\n\n-- name: one\nSELECT 1;\n\n-- Why two.\n-- name: two\nSELECT\n    2;\n"
    assert {"one": "SELECT 1", "two": "SELECT\n    2"} == split_queries(text)


def test_a_name_that_comes_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="more than one query named one"):
        split_queries("-- name: one\nSELECT 1;\n-- name: one\nSELECT 2;\n")


def test_every_statement_of_the_store_has_text() -> None:
    assert [] == [name for name, text in QUERIES.items() if not text]
