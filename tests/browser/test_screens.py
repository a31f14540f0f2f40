"""How the page looks: on every screen without scrolling sideways, light and dark, by keyboard and by ear."""

from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Opener
from tests.browser.screen import Screen
from tests.browser.stage import Stage

SHARE = 10_000

SCREENSHOTS = Path(__file__).resolve().parents[2] / "build" / "screenshots"
"""Kept to be looked at; git ignores them."""

WIDE, MIDDLE, NARROW = 1280, 768, 360

STICKS_OUT = """
() => [...document.querySelectorAll("body *")]
  .filter((element) => element.checkVisibility() && !element.closest(".unseen, .skip, thead, .plot"))
  .filter((element) => {
    const { left, right, width } = element.getBoundingClientRect();
    const card = element.parentElement.closest(".card") ?? document.documentElement;
    const { paddingLeft, paddingRight } = getComputedStyle(card);
    const room = card.getBoundingClientRect();
    const [first, last] = [room.left + parseFloat(paddingLeft), room.right - parseFloat(paddingRight)];
    return width > 0 && (left < first - 0.5 || right > last + 0.5);
  })
  .map((element) => `${element.tagName} ${element.id} ${element.textContent.slice(0, 40)}`)
"""
"""Whatever reaches beyond the card that it is in, or beyond the screen."""


WITH_LONG_NAMES = f"""
() => {{
  const names = ["Bartholomew Featherstonehaugh-Cholmondeley von Hohenzollern", "Y".repeat(60)];
  const shown = document.querySelectorAll("#lines th > span:first-child, #places th span:first-child");
  shown.forEach((name, index) => {{ name.textContent = names[index % 2]; }});
  return [shown.length, document.documentElement.scrollWidth, document.querySelector("#board").clientHeight,
          ({STICKS_OUT})()];
}}
"""
"""Gives players and traders long names, and measures at once, before the page sets the true ones again."""


AS_ONE_OF_MANY = """
() => {
  const row = document.querySelector("#places tr[data-own]");
  const [name, badge] = row.querySelectorAll("th span");
  row.cells[0].textContent = "128";
  name.textContent = "Bartholomew Featherstonehaugh-Cholmondeley";
  const lines = (element) => element.getBoundingClientRect().height / parseFloat(getComputedStyle(element).lineHeight);
  const [named, marked] = [name.getBoundingClientRect(), badge.getBoundingClientRect()];
  return [lines(name), marked.left >= named.right, marked.top < named.bottom && named.top < marked.bottom];
}
"""
"""Gives the reader a long name and a place far down, and measures: lines of the name; is the badge beside it?"""


WITH_A_BADGE_AND_A_PROFIT = """
() => {
  const row = document.querySelector('#lines tr[data-kind="short"]');
  const cell = row.querySelector('[data-cell="unrealized"]');
  row.querySelector("th span").textContent = "Rafael Lindqvist";
  row.querySelector('[data-cell="quantity"]').textContent = "-68";
  cell.querySelector("data").textContent = "+$162.24";
  cell.querySelector("small").textContent = "+3.69%";
  return [cell.querySelector("data"), cell.querySelector("small")].map((part) => part.offsetTop);
}
"""
"""Gives a short position a name and a profit as they usually are; where the amount and its percentage stand."""


@pytest.fixture(scope="module")
def rich_account(stage: Stage) -> tuple[int, int]:
    """An account with large numbers, many positions, one of them short and one closed; its newest version."""
    account_id = stage.tables.open_account(1_234_567_890_12)
    symbols = [stage.new_symbol() for _ in range(6)]
    for number, symbol in enumerate(symbols):
        quantity_bp = -350 * SHARE if number == 1 else 12_345 * SHARE + 2_500 * number
        stage.trade(account_id, symbol, quantity_bp, 4_000 * (number + 1))
    stage.trade(account_id, symbols[5], -(12_345 * SHARE + 12_500), 30_000)
    version = stage.price(account_id, symbols[0], 4_321)
    return account_id, version


@pytest.fixture
def open_rich(open_screen: Opener, stage: Stage, rich_account: tuple[int, int]) -> Opener:
    """Opens a page on which that account is shown in full."""
    account_id, version = rich_account

    def opened(*, width: int, theme: str = "light") -> Screen:
        screen = open_screen(stage.url, width=width, theme=theme)
        screen.log_in(stage.token(account_id))
        screen.expect_positions(version)
        expect(screen.course).to_have_attribute("data-last", str(screen.figures()["total_equity"]))
        expect(screen.page.locator("#figures dd")).to_have_count(5)
        expect(screen.page.locator("#places tr")).not_to_have_count(0)
        return screen

    return opened


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [WIDE, MIDDLE, NARROW])
def test_nothing_is_wider_than_the_screen(open_rich: Opener, width: int, theme: str) -> None:
    """Not the page, and nothing on it, however large the amounts; how it looks is kept as a picture."""
    screen = open_rich(width=width, theme=theme)
    screen.page.get_by_role("button", name="Show 1 closed").click()
    expect(screen.page.locator("#lines tr")).to_have_count(6)
    assert width == screen.evaluate("document.documentElement.scrollWidth")
    assert [] == screen.evaluate(STICKS_OUT)
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    screen.page.screenshot(path=SCREENSHOTS / f"account-{width}-{theme}.png", full_page=True)


@pytest.mark.parametrize("width", [WIDE, MIDDLE, NARROW])
def test_long_names_stay_in_their_cards(open_rich: Opener, width: int) -> None:
    """Two lines of each are shown, whether or not it has a place to break: they neither widen a card nor stretch it."""
    screen = open_rich(width=width)
    name_count, page_width, board_height, sticking_out = screen.evaluate(WITH_LONG_NAMES)
    assert name_count > 5
    assert width == page_width
    assert board_height < 1_000
    assert [] == sticking_out


@pytest.mark.parametrize("width", [WIDE, MIDDLE, NARROW])
def test_a_long_name_gives_way_to_the_badge_beside_it(open_rich: Opener, width: int) -> None:
    """However far down one stands: the name is cut short on its line, and one's own place is still marked there."""
    line_count, is_after, is_level = open_rich(width=width).evaluate(AS_ONE_OF_MANY)
    assert 1 == round(line_count)
    assert is_after
    assert is_level


def test_a_profit_and_its_percentage_share_a_line_on_a_narrow_screen(open_rich: Opener) -> None:
    """Whatever the name above them takes."""
    amount_top, percentage_top = open_rich(width=NARROW).evaluate(WITH_A_BADGE_AND_A_PROFIT)
    assert amount_top == pytest.approx(percentage_top, abs=4)


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_the_way_in_fits_every_screen(open_screen: Opener, stage: Stage, width: int) -> None:
    """What one sees before any account."""
    screen = open_screen(stage.url, width=width)
    expect(screen.form).to_be_visible()
    assert width == screen.evaluate("document.documentElement.scrollWidth")
    assert [] == screen.evaluate(STICKS_OUT)
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    screen.page.screenshot(path=SCREENSHOTS / f"sign-in-{width}.png", full_page=True)


def test_light_and_dark_follow_the_system_until_the_reader_chooses(open_screen: Opener, stage: Stage) -> None:
    """A choice is kept when the page is opened again."""
    ground = "getComputedStyle(document.documentElement).backgroundColor"
    light, dark = (open_screen(stage.url, theme=theme) for theme in ("light", "dark"))
    shades = light.evaluate(ground), dark.evaluate(ground)
    assert shades[0] != shades[1]
    light.page.get_by_role("button", name="Use the dark theme").click()
    assert shades[1] == light.evaluate(ground)
    light.page.reload()
    expect(light.page.get_by_role("button", name="Use the light theme")).to_be_visible()
    assert shades[1] == light.evaluate(ground)
    dark.page.emulate_media(color_scheme="light")
    expect(dark.page.get_by_role("button", name="Use the dark theme")).to_be_visible()
    assert shades[0] == dark.evaluate(ground)


def test_everything_is_reached_and_done_by_keyboard(open_rich: Opener) -> None:
    """Each stop is a button, a field or a link, is seen to be the stop, and does on Enter what a click does."""
    screen = open_rich(width=WIDE)
    page = screen.page
    stops = set()
    for _ in range(40):
        page.keyboard.press("Tab")
        name, tag, ring = page.evaluate(
            "[document.activeElement.ariaLabel || document.activeElement.textContent.trim(),"
            " document.activeElement.tagName, getComputedStyle(document.activeElement).outlineStyle]"
        )
        if tag == "BODY":
            continue  # past the last one, before it begins again with the first
        assert tag in {"A", "BUTTON", "SELECT", "INPUT"}
        assert ring != "none", f"nobody sees that {name} is focused"
        stops.add(name)
    assert {
        "Skip to the numbers",
        "Use the dark theme",
        "Candles",
        "1Y, one year",
        "Show 1 closed",
        "TradingView",
    } <= stops
    button = page.get_by_role("group", name="Range", exact=True).get_by_role("button", name="one week")
    button.focus()
    page.keyboard.press("Enter")
    expect(button).to_have_attribute("aria-pressed", "true")


def test_the_page_can_be_heard(open_rich: Opener) -> None:
    """Landmarks, headings in order, tables with names, and only the badge is read out when it changes."""
    for width in (WIDE, NARROW):
        page = open_rich(width=width).page
        for role in ("banner", "main", "contentinfo"):
            expect(page.get_by_role(role)).to_have_count(1)
        headings = ["Total equity", "Equity over time", "Positions", "Leaderboard"]
        for heading in headings:
            expect(page.get_by_role("heading", level=2, name=heading)).to_be_visible()
        expect(page.get_by_role("table", name="Positions with their prices and profits")).to_be_visible()
        expect(page.get_by_role("table", name="Accounts by return")).to_be_visible()
        expect(page.get_by_role("columnheader", name="Unrealized")).to_have_count(1)
        expect(page.get_by_role("rowheader", name="Total")).to_be_visible()
        assert 1 == page.locator("[aria-live], [role=status], [role=alert]").count()
        expect(page.locator("#course-words")).to_contain_text("Total equity, today: from $")


def test_a_button_is_called_what_is_written_on_it(open_rich: Opener) -> None:
    """Whoever speaks to the page says what is seen; an abbreviation is explained after it."""
    page = open_rich(width=WIDE).page
    names = page.evaluate(
        "[...document.querySelectorAll('button:not([hidden])')].map((button) => [button.innerText, button.ariaLabel])"
    )
    assert ["1Y", "1Y, one year"] in names
    assert [] == [(text, name) for text, name in names if name is not None and not name.startswith(text)]


def test_stillness_is_respected(open_screen: Opener, stage: Stage) -> None:
    """Whoever asks for less motion sees none."""
    screen = open_screen(stage.url)
    screen.page.emulate_media(reduced_motion="reduce")
    moving = "document.getAnimations().filter((animation) => animation.playState === 'running').length"
    assert 0 == screen.evaluate(moving)
