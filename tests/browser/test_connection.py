"""What the page says when EVS goes away, tokens end, or somebody tries a door that is not theirs."""

from collections.abc import Iterator

import jwt
import pytest
from playwright.sync_api import expect

from evs_server.bridge.policy import Policy
from tests.browser.conftest import Opener
from tests.browser.screen import FIGURES
from tests.browser.stage import OPENING, Stage, bridge_with, stage_on
from tests.database import DatabaseServer

CLOCK = r"\d\d:\d\d:\d\d"


@pytest.fixture(scope="module")
def impatient_url(stage: Stage) -> Iterator[str]:
    """The page of a bridge that closes a socket soon after its token has expired."""
    with bridge_with(stage.settings, Policy(refresh_grace_s=3)) as url:
        yield url


def test_a_page_survives_the_end_of_evs(open_screen: Opener, stage: Stage, account_id: int, symbol: int) -> None:
    """Killed, the badge says since when values are stale, and they stand; started again, they go on by themselves."""
    screen = open_screen(stage.url)
    screen.log_in(stage.token(account_id))
    version = stage.price(account_id, symbol, 1_100)
    screen.expect_version(version)
    screen.mark()
    stage.kill_evs()
    screen.expect_badge("stale", f"^Stale since {CLOCK}$")
    expect(screen.page.locator("#advice")).to_contain_text("cannot be reached")
    expect(screen.overview).to_have_attribute("data-dimmed", "")
    assert OPENING + 1_000 == screen.figures()["total_equity"]
    stage.start_evs()
    screen.expect_live()
    expect(screen.overview).not_to_have_attribute("data-dimmed", "")
    expect(screen.page.locator("#advice")).to_be_hidden()
    again = stage.price(account_id, symbol, 1_200)
    assert version < again
    screen.expect_version(again)
    row = stage.row(account_id, again)
    assert {column: row[column] for column in FIGURES} == screen.figures()
    screen.expect_positions(again)
    expect(screen.course).to_have_attribute("data-last", str(OPENING + 2_000))
    assert screen.is_marked(), "the page was not loaded again"


def test_two_windows_go_their_own_ways(open_screen: Opener, stage: Stage, account_id: int, symbol: int) -> None:
    """Both follow; one that is closed takes nothing from the other."""
    screens = [open_screen(stage.url) for _ in range(2)]
    for screen in screens:
        screen.log_in(stage.token(account_id))
    version = stage.price(account_id, symbol, 1_234)
    for screen in screens:
        screen.expect_version(version)
    assert screens[0].figures() == screens[1].figures()
    screens[1].page.close()
    version = stage.price(account_id, symbol, 1_235)
    screens[0].expect_version(version)


# --- tokens ------------------------------------------------------------------------------------------------------


def test_when_its_token_ends_the_page_asks_for_another_and_goes_on(
    open_screen: Opener, stage: Stage, account_id: int, symbol: int
) -> None:
    """On the same socket, with nothing loaded again and no value missed."""
    screen = open_screen(stage.url)
    screen.log_in(stage.token(account_id, seconds=1))
    screen.mark()
    expect(screen.form).to_be_visible()
    expect(screen.page.locator("#sign-in-why")).to_contain_text("about to expire")
    screen.sign_in(stage.token(account_id))
    expect(screen.form).to_be_hidden()
    screen.expect_live()
    screen.expect_version(stage.price(account_id, symbol, 1_300))
    assert screen.is_marked()


def test_a_session_that_has_expired_says_so_until_one_signs_in_again(
    open_screen: Opener, impatient_url: str, stage: Stage, account_id: int, symbol: int
) -> None:
    """The last numbers stand, dimmed."""
    screen = open_screen(impatient_url)
    screen.sign_in(stage.token(account_id, seconds=3))
    screen.expect_badge("expired", "^Session expired$")
    expect(screen.form).to_be_visible()
    expect(screen.page.locator("#sign-in-why")).to_contain_text("has expired")
    expect(screen.overview).to_have_attribute("data-dimmed", "")
    screen.log_in(stage.token(account_id))
    expect(screen.form).to_be_hidden()
    screen.expect_version(stage.price(account_id, symbol, 1_400))


def test_a_token_that_is_not_good_opens_nothing(open_screen: Opener, stage: Stage, account_id: int) -> None:
    """Nonsense, expired, or signed by somebody else: nothing is shown, and one may try again."""
    claims = jwt.decode(stage.token(account_id), options={"verify_signature": False})
    forged = jwt.encode(claims, "a key of somebody else, as long as it takes", algorithm="HS256")
    screen = open_screen(stage.url)
    for token in ("nonsense", stage.token(account_id, seconds=-3_600), forged):
        screen.sign_in(token)
        screen.expect_badge("expired", "^Token not accepted$")
        expect(screen.form).to_be_visible()
        expect(screen.overview).to_be_hidden()
    screen.log_in(stage.token(account_id))
    assert OPENING == screen.figures()["total_equity"]


def test_an_account_that_the_exchange_does_not_have_shows_nothing(open_screen: Opener, stage: Stage) -> None:
    """Its token is good, it is not."""
    screen = open_screen(stage.url)
    screen.sign_in(stage.token(999_999_999))
    screen.expect_badge("closed", "^Disconnected$")
    expect(screen.page.locator("#sign-in-why")).to_contain_text("no such account")
    expect(screen.overview).to_be_hidden()


def test_a_window_does_not_change_hands(open_screen: Opener, stage: Stage, account_id: int) -> None:
    """A token of another account is refused where this one's has expired, and nothing of the other is shown."""
    other = stage.tables.open_account(7 * OPENING)
    screen = open_screen(stage.url)
    screen.log_in(stage.token(account_id, seconds=1))
    expect(screen.form).to_be_visible()
    screen.sign_in(stage.token(other))
    screen.expect_badge("closed", "^Disconnected$")
    expect(screen.page.locator("#sign-in-why")).to_contain_text("another account")
    assert OPENING == screen.figures()["total_equity"]


def test_a_page_waits_for_an_evs_that_is_not_there_yet(
    open_screen: Opener, embedded_server: DatabaseServer, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Opened while EVS is away, it says so, and shows the account once it is there."""
    with stage_on(embedded_server, tmp_path_factory.mktemp("late")) as stage:
        account_id = stage.tables.open_account(OPENING)
        stage.kill_evs()
        screen = open_screen(stage.url)
        screen.sign_in(stage.token(account_id))
        screen.expect_badge("stale", f"^Stale since {CLOCK}$")
        stage.start_evs()
        screen.expect_live()
        expect(screen.page.locator("#total-equity")).to_have_text("$10,000.00")
        screen.close()
