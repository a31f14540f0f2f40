"""Log lines: one for each thing worth knowing, in a form that people and their tools can read."""

import io
import json
import logging
import re
from collections.abc import Iterator

import pytest

from evs_server import telemetry
from evs_server.telemetry.trace import traced

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


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
    telemetry.configure("INFO", stream=log)
    logging.getLogger("evs_server.app").info("serving %d accounts", 7)
    expected = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z INFO    evs_server\.app: serving 7 accounts\n"
    assert re.fullmatch(expected, log.getvalue())


def test_less_than_the_level_is_not_logged(log: io.StringIO) -> None:
    """The level is the least severity that is."""
    telemetry.configure("WARNING", stream=log)
    logging.getLogger("evs_server.app").info("a detail")
    assert "" == log.getvalue()


def test_libraries_do_not_tell_of_each_connection(log: io.StringIO) -> None:
    """What they warn of is logged, at the level that was set if that is less still."""
    telemetry.configure("INFO", stream=log)
    logging.getLogger("websockets.server").info("connection open")
    assert "" == log.getvalue()
    logging.getLogger("websockets.server").warning("a warning")
    assert "a warning" in log.getvalue()


def test_setting_it_up_again_replaces_what_was(log: io.StringIO) -> None:
    """No line comes twice."""
    telemetry.configure("INFO", stream=log)
    telemetry.configure("INFO", stream=log)
    logging.getLogger("evs_server.app").info("once")
    assert 1 == log.getvalue().count("once")


def test_lines_of_a_traced_call_carry_its_trace(log: io.StringIO) -> None:
    """So that a caller's own logs lead to ours; lines of others do not."""
    telemetry.configure("INFO", stream=log)
    with traced(TRACE):
        logging.getLogger("evs_server.app").info("within")
    logging.getLogger("evs_server.app").info("without")
    within, without = log.getvalue().splitlines()
    assert within.endswith(f"within trace_id={TRACE}")
    assert without.endswith("without")


def test_a_line_can_be_an_object(log: io.StringIO) -> None:
    """With the same in it, and a stack that stays within the line."""
    telemetry.configure("INFO", "json", log)
    with traced(TRACE):
        try:
            raise KeyError("price")
        except KeyError:
            logging.getLogger("evs_server.app").exception("lost %d", 7)
    [line] = log.getvalue().splitlines()
    told = json.loads(line)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", told.pop("time"))
    assert told.pop("stack").startswith("Traceback")
    assert {"level": "ERROR", "logger": "evs_server.app", "message": "lost 7", "trace_id": TRACE} == told
