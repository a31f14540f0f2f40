"""What returns are made of: accounts at the closes of sessions, and at moments in between. Pure."""

from dataclasses import dataclass
from typing import NamedTuple

from evs_server.model.base import Columns, Int64Array


class Close(NamedTuple):
    """What an account was worth at one moment: a session's close, a minute's, or now."""

    time_ms: int
    equity_cents: int
    net_flow_cents: int

    @property
    def profit_cents(self) -> int:
        """All it has ever gained: what it is worth beyond what was paid in."""
        return self.equity_cents - self.net_flow_cents


class StoredValuation(NamedTuple):
    """What returns need of one row of history."""

    time_ms: int
    version: int
    equity_cents: int
    net_flow_cents: int
    day_change_cents: int

    @property
    def close(self) -> Close:
        """The account at that moment."""
        return Close(self.time_ms, self.equity_cents, self.net_flow_cents)

    @property
    def base_cents(self) -> int:
        """The profit from which the gain of its session counts."""
        return self.equity_cents - self.net_flow_cents - self.day_change_cents


@dataclass(frozen=True, slots=True)
class Past:
    """
    One account's history over a time, as far as returns need it; read as of one moment.

    Attributes:
        start: The first valuation that counts.
        begins: Whether it is the account's first ever.
        starts_with_close: Whether it is the close of a session.
        closes: Of the sessions that ended after it, ascending.
        first_base_cents: The profit from which the first session's gain counts.
        minutes: The last valuation of each minute since the last close, ascending.
        last: The newest valuation in that time.
    """

    start: StoredValuation
    begins: bool
    starts_with_close: bool
    closes: tuple[Close, ...]
    first_base_cents: int
    minutes: tuple[Close, ...]
    last: StoredValuation


@dataclass(frozen=True, slots=True)
class CloseColumns(Columns):
    """
    Accounts at the close of one session, ascending by id.

    ``capital_cents`` is the equity without the session's gain; ``growth`` that of all sessions since the account's
    first valuation, in ``engine.growth.GROWTH_ONE``-ths.
    """

    account_id: Int64Array
    equity_cents: Int64Array
    capital_cents: Int64Array
    growth: Int64Array
