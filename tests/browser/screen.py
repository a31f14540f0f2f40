"""The page as a person sees it, and as it says it to programs: amounts in cents, versions, states."""

import re
from typing import Any

from playwright.sync_api import Locator, Page, expect

MINUS = "\N{MINUS SIGN}"

FIGURES = {
    "total_equity": "total-equity",
    "cash_balance": "cash",
    "position_value": "position-value",
    "day_change": "day-change-amount",
    "unrealized_pnl": "unrealized",
    "realized_pnl": "realized",
}
"""Columns of ``equity_timeseries``, and the ids of the elements that show them."""


class Screen:
    """
    One open page.

    Args:
        page: At the bridge's address.
    """

    def __init__(self, page: Page) -> None:
        self.page = page
        self.badge = page.locator("#badge")
        self.overview = page.locator("#overview")
        self.course = page.locator("#course")
        self.positions = page.locator("#positions")
        self.form = page.locator("#sign-in")

    def close(self) -> None:
        """Leave the page; for who takes its bridge away, which it would then ask in vain, and tell so."""
        self.page.close()

    def sign_in(self, token: str) -> None:
        """Paste a token into the form."""
        self.page.get_by_label("Token").fill(token)
        self.page.get_by_role("button", name="Sign in").click()

    def log_in(self, token: str) -> None:
        """As ``sign_in``, until the page shows numbers."""
        self.sign_in(token)
        self.expect_live()
        expect(self.overview).to_have_attribute("data-version", re.compile(r"\d+"))

    def expect_live(self) -> None:
        """Wait for the badge to say that the numbers are fresh."""
        expect(self.badge).to_have_attribute("data-kind", "live")

    def expect_badge(self, kind: str, text: str) -> None:
        """Wait for the badge to be of a kind, with a text that matches."""
        expect(self.badge).to_have_attribute("data-kind", kind)
        expect(self.badge).to_have_text(re.compile(text))

    def expect_version(self, version: int) -> None:
        """Wait for the figures of a version."""
        expect(self.overview).to_have_attribute("data-version", str(version))

    def expect_positions(self, version: int) -> None:
        """Wait for the positions of a version."""
        expect(self.positions).to_have_attribute("data-version", str(version))

    def figures(self) -> dict[str, int]:
        """The figures by the names of their columns, in cents: what they say to programs must be what people read."""
        return {column: cents(self.page.locator(f"#{element}")) for column, element in FIGURES.items()}

    def totals(self) -> list[int]:
        """Value, unrealized and realized P&L of all positions, in cents."""
        return [cents(cell) for cell in self.page.locator("#totals data").all()]

    def attribute(self, locator: Locator, name: str) -> str:
        """An attribute that must be there."""
        value = locator.get_attribute(name)
        assert value is not None, name
        return value

    def bar_count(self) -> int:
        """How many bars the chart has."""
        return int(self.attribute(self.course, "data-points"))

    def mark(self) -> None:
        """Leave a mark in the page that a reload would wipe away."""
        self.page.evaluate("window.marked = true")

    def is_marked(self) -> bool:
        """True if the page has not been loaded again since ``mark``."""
        return bool(self.page.evaluate("window.marked === true"))

    def evaluate(self, expression: str) -> Any:
        """What an expression comes to in the page."""
        return self.page.evaluate(expression)


def cents(locator: Locator) -> int:
    """The cents of an amount: its value, which its text must say too."""
    value = locator.get_attribute("value")
    assert value is not None
    assert read_dollars(locator.inner_text()) == int(value)
    return int(value)


def read_dollars(text: str) -> int:
    """Cents of an amount as it is written, such as ``+$1,234.56``; a minus is a real minus sign."""
    found = re.fullmatch(rf"([+{MINUS}]?)\$([\d,]+)\.(\d\d)", text)
    assert found, text
    size = int(found[2].replace(",", "") + found[3])
    return -size if found[1] == MINUS else size
