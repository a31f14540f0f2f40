"""A trader looks at the account: what the page shows is what the database has, to the cent, and it moves."""

import re
from collections.abc import Callable

from playwright.sync_api import expect

from tests.browser.conftest import Opener
from tests.browser.screen import FIGURES, read_dollars
from tests.browser.stage import OPENING, Stage

SHARE = 10_000

PLOT_HEIGHT = "document.querySelector('#plot').getBoundingClientRect().height"


WATCH_TEXTS = """
() => {
  const { fillText } = CanvasRenderingContext2D.prototype;
  window.texts = [];
  CanvasRenderingContext2D.prototype.fillText = function (text, ...where) {
    window.texts.push(text);
    return fillText.call(this, text, ...where);
  };
}
"""
"""Notes what the chart is labelled with: what is on a canvas can be seen, but not asked for."""

TIMES_ARE_ROUND = """
() => {
  const labels = [];
  for (const text of window.texts.filter((text) => /^\\d\\d:\\d\\d/.test(text))) {
    if (text <= labels.at(-1)) labels.length = 0; // the axis is drawn again, from the left
    labels.push(text);
  }
  const times = labels.map((label) => label.split(":").reduce((sum, part) => 60 * sum + Number(part), 0));
  const steps = new Set(times.slice(1).map((time, index) => time - times[index]));
  const [step] = steps;
  return steps.size === 1 && [1, 2, 5, 10, 15, 30].includes(step) && times[0] % step === 0;
}
"""


def database_figures(stage: Stage, account_id: int, version: int) -> dict[str, int]:
    row = stage.row(account_id, version)
    return {column: row[column] for column in FIGURES}


def test_whoever_signs_in_sees_the_account_as_the_database_has_it(open_screen: Opener, stage: Stage) -> None:
    """Before that there is nothing to see but where to sign in; the token is then nowhere on the page."""
    account_id = stage.tables.open_account(OPENING)
    symbol = stage.new_symbol()
    stage.trade(account_id, symbol, 100 * SHARE, 5_000)
    version = stage.price(account_id, symbol, 5_433)
    screen = open_screen(stage.url)
    expect(screen.form).to_be_visible()
    expect(screen.overview).to_be_hidden()
    token = stage.token(account_id)
    screen.log_in(token)
    screen.expect_version(version)
    assert database_figures(stage, account_id, version) == screen.figures()
    expect(screen.form).to_be_hidden()
    expect(screen.page.locator("#total-equity")).to_have_text("$10,433.00")
    expect(screen.page.locator("#day-change")).to_contain_text("+$433.00")
    expect(screen.page.locator("#buying-power")).to_have_text("$5,000.00")
    kept = screen.evaluate("[location.href, document.documentElement.outerHTML, ...Object.values(localStorage)].join()")
    assert token not in kept


def test_every_change_reaches_the_page_to_the_cent(open_screen: Opener, stage: Stage) -> None:
    """Buys, a short, prices, a deposit: after each the page shows the database's row of that version."""
    account_id = stage.tables.open_account(OPENING)
    first, second = (stage.new_symbol() for _ in range(2))
    stage.trade(account_id, first, 10 * SHARE, 1_234)
    screen = open_screen(stage.url)
    screen.log_in(stage.token(account_id))
    happens: tuple[Callable[[], int], ...] = (
        lambda: stage.trade(account_id, second, -7 * SHARE, 20_001),
        lambda: stage.price(account_id, second, 20_777),
        lambda: stage.price(account_id, first, 999),
        lambda: stage.deposit(account_id, 12_345),
        lambda: stage.trade(account_id, first, -10 * SHARE, 1_000),
    )
    for happen in happens:
        version = happen()
        screen.expect_version(version)
        assert database_figures(stage, account_id, version) == screen.figures()


def test_positions_add_up_to_the_figures_above_them(open_screen: Opener, stage: Stage) -> None:
    """Value, unrealized and realized P&L, with a closed position that shows only to whoever asks for it."""
    account_id = stage.tables.open_account(OPENING)
    first, second, third = (stage.new_symbol() for _ in range(3))
    stage.trade(account_id, first, 3 * SHARE, 10_000)
    stage.trade(account_id, second, -2 * SHARE, 5_000)
    stage.trade(account_id, third, 1 * SHARE, 700)
    stage.trade(account_id, third, -1 * SHARE, 900)
    stage.price(account_id, second, 4_321)
    version = stage.price(account_id, first, 10_101)
    screen = open_screen(stage.url)
    screen.log_in(stage.token(account_id))
    screen.expect_positions(version)
    figures = screen.figures()
    assert [figures["position_value"], figures["unrealized_pnl"], figures["realized_pnl"]] == screen.totals()
    lines = screen.page.locator("#lines tr")
    expect(lines).to_have_count(2)
    expect(lines.first).to_contain_text(f"#{first}")
    expect(lines.first).to_contain_text(re.compile(r"\$101\.01mark, (now|\d+ (s|min))"))
    expect(lines.nth(1)).to_contain_text("short")
    expect(lines.nth(1)).to_contain_text("+13.58%")
    screen.page.get_by_role("button", name="Show 1 closed").click()
    expect(lines).to_have_count(3)
    expect(lines.nth(2)).to_contain_text("+$2.00")
    screen.page.get_by_role("button", name="Hide 1 closed").click()
    expect(lines).to_have_count(2)


def test_an_account_that_holds_nothing_is_told_so(open_screen: Opener, stage: Stage) -> None:
    """Not an empty table, and not a spinner for ever."""
    screen = open_screen(stage.url)
    screen.log_in(stage.token(stage.tables.open_account(OPENING)))
    expect(screen.page.locator("#positions-state")).to_contain_text("No open positions")
    expect(screen.page.locator("#holdings")).to_be_hidden()


def test_the_chart_grows_with_the_market(open_screen: Opener, stage: Stage, account_id: int, symbol: int) -> None:
    """Its newest bar ends with the newest value, and later values open bars of their own."""
    screen = open_screen(stage.url)
    screen.log_in(stage.token(account_id))
    expect(screen.course).to_have_attribute("data-last", str(OPENING))
    before = screen.bar_count()
    version = stage.price(account_id, symbol, 1_111)
    screen.expect_version(version)
    expect(screen.course).to_have_attribute("data-last", str(OPENING + 1_110))
    price = 1_111
    while screen.bar_count() < before + 2:  # bars of a second, since the account is young
        price += 1
        screen.expect_version(stage.price(account_id, symbol, price))
    expect(screen.course).to_have_attribute("data-last", str(OPENING + 10 * (price - 1_000)))
    assert screen.evaluate(PLOT_HEIGHT) > 100


def test_the_time_axis_has_its_marks_at_round_times(
    open_screen: Opener, stage: Stage, account_id: int, symbol: int
) -> None:
    """However little history there is, evenly apart, and again when the window has another width."""
    screen = open_screen(stage.url)
    screen.log_in(stage.token(account_id))
    price = 1_000
    while screen.bar_count() < 11:
        price += 1
        screen.expect_version(stage.price(account_id, symbol, price))
    screen.evaluate(WATCH_TEXTS)
    for width in (500, 1_280, 360):
        screen.page.set_viewport_size({"width": width, "height": 900})
        screen.page.wait_for_function(TIMES_ARE_ROUND)


def test_an_account_that_stands_still_has_round_amounts_beside_it(open_screen: Opener, stage: Stage) -> None:
    """Not every few parts of a cent, of which amounts as they are written would stand unevenly."""
    screen = open_screen(stage.url)
    screen.log_in(stage.token(stage.tables.open_account(OPENING)))
    expect(screen.course).to_have_attribute("data-last", str(OPENING))
    screen.evaluate(WATCH_TEXTS)
    screen.page.set_viewport_size({"width": 360, "height": 900})
    screen.page.wait_for_function("() => window.texts.some((text) => text.startsWith('$'))")
    amounts = {read_dollars(text) for text in screen.evaluate("window.texts") if text.startswith("$")}
    assert [] == sorted(amount for amount in amounts if amount % 5)


def test_every_range_shows_its_history_and_what_was_made_in_it(
    open_screen: Opener, stage: Stage, account_id: int, symbol: int
) -> None:
    """Ranges are chosen with buttons, of which one is pressed; each ends with the value of now."""
    stage.price(account_id, symbol, 1_100)
    screen = open_screen(stage.url)
    screen.log_in(stage.token(account_id))
    for spoken in ("one week", "one month", "three months", "one year", "since the beginning", "today"):
        button = screen.page.get_by_role("group", name="Range", exact=True).get_by_role("button", name=spoken)
        button.click()
        expect(button).to_have_attribute("aria-pressed", "true")
        expect(screen.course).to_have_attribute("data-last", str(OPENING + 1_000))
        expect(screen.page.locator("#figures")).to_contain_text(re.compile(r"Time-weighted return\+0\.10%"))
        expect(screen.page.locator("#figures")).to_contain_text(re.compile(r"High-water mark\$10,010\.00"))
    height = screen.evaluate(PLOT_HEIGHT)
    screen.page.get_by_role("button", name="Candles").click()
    expect(screen.course).to_have_attribute("data-last", str(OPENING + 1_000))
    assert height == screen.evaluate(PLOT_HEIGHT)


def test_the_leaderboard_marks_ones_own_place(open_screen: Opener, stage: Stage) -> None:
    """By return, not by wealth; who is not among the first stands beneath them."""
    account_id = stage.tables.open_account(OPENING)
    symbol = stage.new_symbol()
    stage.trade(account_id, symbol, 1 * SHARE, 1_000)
    stage.price(account_id, symbol, 500_000)
    screen = open_screen(stage.url)
    screen.log_in(stage.token(account_id))
    own = screen.page.locator("#places tr[data-own]")
    expect(own).to_have_count(1)
    expect(own).to_contain_text("you")
    expect(own).to_contain_text("+49.90%")
    expect(own.locator("td").first).to_have_text("1")
