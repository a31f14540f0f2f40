"""Log lines: one for each thing worth knowing, in a form that people and their tools can read."""

import io
import logging
import re
from collections.abc import Iterator

import pytest

from evs_server import telemetry


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """What a process set up like ours has logged; the tests' own logging is put back."""
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    root.handlers = []  # the set-up closes those it finds
    stream = io.StringIO()
    yield stream
    logging.captureWarnings(capture=False)
    root.setLevel(level)
    root.handlers = handlers
    for name in telemetry.QUIET_LIBRARIES:
        logging.getLogger(name).setLevel(logging.NOTSET)


def test_a_line_has_its_time_in_utc_its_severity_its_room_and_its_message(log: io.StringIO) -> None:
    """In this order, so that lines sort by time."""
    telemetry.configure("INFO", log)
    logging.getLogger("evs_server.app").info("serving %d accounts", 7)
    expected = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z INFO    evs_server\.app: serving 7 accounts\n"
    assert re.fullmatch(expected, log.getvalue())


def test_less_than_the_level_is_not_logged(log: io.StringIO) -> None:
    """The level is the least severity that is."""
    telemetry.configure("WARNING", log)
    logging.getLogger("evs_server.app").info("a detail")
    assert "" == log.getvalue()


def test_libraries_do_not_tell_of_each_connection(log: io.StringIO) -> None:
    """What they warn of is logged, at the level that was set if that is less still."""
    telemetry.configure("INFO", log)
    logging.getLogger("websockets.server").info("connection open")
    assert "" == log.getvalue()
    logging.getLogger("websockets.server").warning("a warning")
    assert "a warning" in log.getvalue()


def test_setting_it_up_again_replaces_what_was(log: io.StringIO) -> None:
    """No line comes twice."""
    telemetry.configure("INFO", log)
    telemetry.configure("INFO", log)
    logging.getLogger("evs_server.app").info("once")
    assert 1 == log.getvalue().count("once")
