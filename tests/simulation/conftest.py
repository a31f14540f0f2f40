"""Assertions of the world are explained like those of a test."""

import pytest

pytest.register_assert_rewrite("tests.simulation.world")
