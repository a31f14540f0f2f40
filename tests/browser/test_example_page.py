"""The example of a page: its own JavaScript, from an address of its own, in a real browser."""

import functools
import re
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import expect

from evs_server.bridge.policy import Policy
from tests.browser.conftest import Opener
from tests.browser.stage import OPENING, Stage, bridge_with
from tests.patience import PATIENCE_SECONDS

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "browser"


class QuietHandler(SimpleHTTPRequestHandler):
    """Serves files, and says nothing about it."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Nothing."""


@pytest.fixture(scope="module")
def page_url() -> Iterator[str]:
    """Where the example is served, as ``python -m http.server`` would."""
    handler = functools.partial(QuietHandler, directory=str(FOLDER))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, name="example page")
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join(PATIENCE_SECONDS)


@pytest.fixture(scope="module")
def bridge_url(stage: Stage, page_url: str) -> Iterator[str]:
    """The socket of a bridge that lets the example's pages in."""
    settings = stage.settings.model_copy(update={"origins": (page_url,)})
    with bridge_with(settings, Policy()) as url:
        yield f"{url.replace('http:', 'ws:').rstrip('/')}/ws"


def test_the_page_of_the_example_follows_an_account(
    open_screen: Opener, stage: Stage, page_url: str, bridge_url: str
) -> None:
    """The current value, then a change, to the cent."""
    account_id, symbol = stage.tables.open_account(OPENING), stage.new_symbol()
    page = open_screen(page_url).page
    page.get_by_label("Bridge").fill(bridge_url)
    page.get_by_label("Token").fill(stage.token(account_id))
    page.get_by_role("button", name="Follow").click()
    expect(page.locator("#status")).to_have_text(re.compile(f"Account {account_id}: live|Live again"))
    expect(page.locator("#equity")).to_have_text("$10,000.00")
    stage.trade(account_id, symbol, 100_000, 1_000)
    version = stage.price(account_id, symbol, 1_234)
    expect(page.locator("#equity")).to_have_attribute("data-version", str(version))
    expect(page.locator("#equity")).to_have_text("$10,023.40")
    expect(page.locator("#today")).to_have_text("$23.40 (0.234 %)")


def test_the_page_of_the_example_shows_why_it_is_refused(open_screen: Opener, page_url: str, bridge_url: str) -> None:
    """A token that is not good ends the socket, with its code."""
    page = open_screen(page_url).page
    page.get_by_label("Bridge").fill(bridge_url)
    page.get_by_label("Token").fill("not a token")
    page.get_by_role("button", name="Follow").click()
    expect(page.locator("#status")).to_contain_text("Closed: 4401")
