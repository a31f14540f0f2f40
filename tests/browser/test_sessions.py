"""The chart's bars of days begin where EVS's sessions do, whatever the exchange's clocks do."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Opener
from tests.browser.stage import OPENING, Stage, stage_on
from tests.database import DatabaseServer

SHARE = 10_000

LONG_SESSION = datetime(2026, 11, 1, 4, tzinfo=UTC)
"""Midnight in New York before the night in which the clocks go back: 25 hours to the next."""


@pytest.fixture(scope="module")
def stage(embedded_server: DatabaseServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """As everybody's, on New York's clocks."""
    with stage_on(embedded_server, tmp_path_factory.mktemp("evs"), session_timezone="America/New_York") as stage:
        yield stage


def test_a_session_of_25_hours_is_one_bar(open_screen: Opener, stage: Stage) -> None:
    """Also in its last hour, when a day has passed; the next begins with the first value after it."""
    account_id = stage.tables.open_account(OPENING)
    symbol = stage.new_symbol()
    # So much history that a year of it is shown in days.
    opened = LONG_SESSION - timedelta(days=115)
    stage.tables.settle(account_id, symbol, "BUY", 10 * SHARE, 1_000)
    stage.price(account_id, symbol, 1_000, at=opened)
    stage.price(account_id, symbol, 1_000, at=LONG_SESSION + timedelta(hours=22))
    screen = open_screen(stage.url)
    screen.log_in(stage.token(account_id))
    screen.page.get_by_role("group", name="Range", exact=True).get_by_role("button", name="one year").click()
    expect(screen.course).to_have_attribute("data-resolution", "1d")
    expect(screen.course).to_have_attribute("data-last", str(OPENING))
    bar_count = screen.bar_count()
    for hours, price, more in ((23.5, 1_001, 0), (24, 1_002, 0), (24.5, 1_003, 0), (25, 1_004, 1), (25.5, 1_005, 1)):
        screen.expect_version(stage.price(account_id, symbol, price, at=LONG_SESSION + timedelta(hours=hours)))
        expect(screen.course).to_have_attribute("data-points", str(bar_count + more))
        expect(screen.course).to_have_attribute("data-last", str(OPENING + 10 * (price - 1_000)))
