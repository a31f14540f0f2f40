"""The demo as a newcomer opens it: accounts to choose from, names instead of numbers, and a market that moves."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Opener
from tests.e2e.processes import running


@pytest.fixture(scope="module")
def demo_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where a demo of our own shows its page."""
    settings = {"listen": "127.0.0.1:0", "bridge_listen": "127.0.0.1:0", "metrics_listen": "127.0.0.1:0"}
    with running("demo", data_dir=tmp_path_factory.mktemp("demo"), **settings) as demo:
        yield demo.wait_for(r"page\s+(http://\S+)").group(1)
        demo.terminate()


def test_the_demo_moves_by_itself(open_screen: Opener, demo_url: str) -> None:
    """Nobody signs in; each tick is a new version, and the chart grows with them."""
    screen = open_screen(demo_url)
    screen.expect_live()
    expect(screen.form).to_be_hidden()
    expect(screen.overview).to_have_attribute("data-version", re.compile(r"\d+"))
    seen = screen.attribute(screen.overview, "data-version")
    expect(screen.overview).not_to_have_attribute("data-version", seen)
    expect(screen.course).to_have_attribute("data-points", re.compile(r"^[1-9]"))
    bars = screen.attribute(screen.course, "data-points")
    expect(screen.course).not_to_have_attribute("data-points", bars)
    expect(screen.page.locator("#freshness")).to_have_text(re.compile("^Updated "))


def test_players_and_traders_have_names(open_screen: Opener, demo_url: str) -> None:
    """In the table of positions and on the leaderboard, where one's own place is marked."""
    screen = open_screen(demo_url)
    expect(screen.page.locator("#lines th").first).to_have_text(re.compile(r"^\w+ \w+"))
    expect(screen.page.locator("#places tr")).not_to_have_count(0)
    chosen = screen.page.locator("#account option:checked").inner_text()
    expect(screen.page.locator("#places tr[data-own]")).to_contain_text(chosen)


def test_another_account_may_be_chosen(open_screen: Opener, demo_url: str) -> None:
    """It is then the only one that is shown, here and wherever the address is opened."""
    screen = open_screen(demo_url)
    screen.expect_live()
    chooser = screen.page.get_by_label("Account", exact=True)
    value = screen.attribute(chooser.locator("option").nth(7), "value")
    name = chooser.locator("option").nth(7).inner_text()
    chooser.select_option(value)
    expect(screen.page).to_have_url(re.compile(f"#{value}$"))
    own = screen.page.locator("#places tr[data-own]")
    expect(own).to_contain_text(name)
    again = open_screen(screen.page.url)
    expect(again.page.get_by_label("Account", exact=True)).to_have_value(value)
    expect(again.page.locator("#places tr[data-own]")).to_contain_text(name)
