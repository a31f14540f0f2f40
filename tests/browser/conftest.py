"""An EVS with a bridge, as processes, and a real browser in front of them; skipped where there is no browser."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.browser.screen import Screen
from tests.browser.stage import OPENING, Stage, stage_on
from tests.builders import SHARE_BP
from tests.database import DatabaseServer
from tests.patience import PATIENCE_SECONDS

PATIENCE_MS = 1_000 * PATIENCE_SECONDS

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = ("--no-sandbox", "--disable-quic", "--disable-background-networking")

PAGE = Path(__file__).resolve().parents[2] / "evs_server" / "bridge" / "static" / "index.html"

NOT_THE_DEMO = "/demo/accounts"
"""The page asks for it to find out where it is; a browser reports the 404 that it gets outside the demo."""

Opener = Callable[..., Screen]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The machine's own browser; ended with the module, since its loop would be in the way of asynchronous tests."""
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        pytest.skip(f"there is no browser: none of {', '.join(BROWSERS)} is on the PATH")
    if not PAGE.exists():
        pytest.skip("the page has not been built: make web")
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS, timeout=PATIENCE_MS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def stage(embedded_server: DatabaseServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """EVS and a bridge, for all tests of a module; its exchange does nothing by itself."""
    with stage_on(embedded_server, tmp_path_factory.mktemp("evs")) as stage:
        yield stage


@pytest.fixture
def symbol(stage: Stage) -> int:
    """A symbol that nobody else trades."""
    return stage.new_symbol()


@pytest.fixture
def account_id(stage: Stage, symbol: int) -> int:
    """An account that holds 10 shares of it, bought at $10."""
    account_id = stage.tables.open_account(OPENING)
    stage.trade(account_id, symbol, 10 * SHARE_BP, 1_000)
    return account_id


@pytest.fixture
def open_screen(browser: Browser) -> Iterator[Opener]:
    """
    Opens a page in a browser that knows nothing yet.

    In the end no page may have reported an error, or anything that its content security policy has kept it from.
    """
    contexts: list[BrowserContext] = []
    problems: list[str] = []

    def opened(url: str, *, width: int = 1280, height: int = 900, theme: str = "light") -> Screen:
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=theme)  # type: ignore[arg-type]
        contexts.append(context)
        context.set_default_timeout(PATIENCE_MS)
        page = context.new_page()
        watch(page, problems)
        page.goto(url)
        return Screen(page)

    yield opened
    for context in contexts:
        context.close()
    assert [] == problems


def watch(page: Page, problems: list[str]) -> None:
    """Note what a page reports: errors of its scripts, and whatever its policy has blocked."""
    page.on("pageerror", lambda error: problems.append(f"{error}"))
    page.on(
        "console",
        lambda message: (
            problems.append(f"{message.text} ({message.location['url']})")
            if message.type == "error" and not message.location["url"].endswith(NOT_THE_DEMO)
            else None
        ),
    )
