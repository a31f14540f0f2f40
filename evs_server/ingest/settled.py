"""
Trades an account was loaded with, to skip their announcements, each of which is still to come once (DESIGN 6). Pure.
"""

from collections.abc import Iterable
from typing import Final

import numpy as np

from evs_server.model import SettledTrade, Side, UnannouncedColumns

_Unannounced = tuple[int, SettledTrade]


class Settled:
    """Trades loaded but not yet announced."""

    def __init__(self) -> None:
        self._unannounced: dict[int, dict[int, SettledTrade]] = {}
        self._added_since: list[_Unannounced] = []
        self._removed_since: list[_Unannounced] = []

    def expect(self, account_id: int, trades: Iterable[SettledTrade]) -> None:
        """
        Take note of the trades an account was loaded with.

        One of quantity 0 has most likely been announced before, and only its id can tell that it was not.
        """
        for trade in trades:
            self._unannounced.setdefault(account_id, {})[trade.trade_id] = trade
            self._added_since.append((account_id, trade))

    def expects(self, account_id: int) -> bool:
        """Whether a trade of an account may have to be skipped when it is announced."""
        return account_id in self._unannounced

    def awaits(self, account_id: int) -> bool:
        """Whether a trade of an account is still to be announced, as far as can be told."""
        return any(trade.quantity_bp for trade in self._unannounced.get(account_id, {}).values())

    def expected(
        self, account_id: int, symbol_id: int, side: int, quantity_bp: int, price_cents: int, settlement_id: int
    ) -> SettledTrade | None:
        """
        Which of the trades its account was loaded with, and that are still to be announced, this one is.

        Known by its settlement id if it has one, otherwise by side, symbol, quantity and price. An id whose row says
        something else is of another numbering than the exchange's, and tells nothing.
        """
        known = self._unannounced.get(account_id)
        if not known:
            return None
        content = (symbol_id, side, quantity_bp, price_cents)
        if settlement_id:
            trade = known.get(settlement_id)
            # One remembered by its id alone has quantity 0.
            fits = trade is not None and (not trade.quantity_bp or _content(trade) == content)
            return trade if fits else None
        return next((trade for trade in known.values() if _content(trade) == content), None)

    def announce(self, account_id: int, trade: SettledTrade) -> None:
        """Take note that an expected trade was announced; it is expected no longer."""
        known = self._unannounced[account_id]
        del known[trade.trade_id]
        if not known:
            del self._unannounced[account_id]
        self._removed_since.append((account_id, trade))

    def expected_ids(self, account_id: int) -> set[int]:
        """Ids of the trades of an account that are still to be announced."""
        return {trade.trade_id for trade in self._unannounced.get(account_id, {}).values() if trade.quantity_bp}

    def capture(self) -> tuple[UnannouncedColumns, UnannouncedColumns]:
        """What was expected and announced since the last capture."""
        added, self._added_since = self._added_since, []
        removed, self._removed_since = self._removed_since, []
        return _unannounced_columns(added), _unannounced_columns(removed)

    def restore(self, unannounced: UnannouncedColumns) -> None:
        """Take over what was captured before a restart."""
        for account_id, trade_id, symbol_id, side, quantity_bp, price_cents in zip(
            unannounced.account_id.tolist(),
            unannounced.trade_id.tolist(),
            unannounced.symbol_id.tolist(),
            unannounced.side.tolist(),
            unannounced.quantity_bp.tolist(),
            unannounced.price_cents.tolist(),
            strict=True,
        ):
            trade = SettledTrade(trade_id, symbol_id, Side(side), quantity_bp, price_cents)
            self._unannounced.setdefault(account_id, {})[trade_id] = trade


_NONE_UNANNOUNCED: Final = UnannouncedColumns.empty()
"""What nearly every flush carries; made once."""


def _content(trade: SettledTrade) -> tuple[int, int, int, int]:
    return trade.symbol_id, trade.side, trade.quantity_bp, trade.price_cents


def _unannounced_columns(trades: list[_Unannounced]) -> UnannouncedColumns:
    if not trades:
        return _NONE_UNANNOUNCED
    rows = np.array(
        [
            (account_id, trade.trade_id, trade.symbol_id, trade.side, trade.quantity_bp, trade.price_cents)
            for account_id, trade in trades
        ],
        np.int64,
    ).reshape(-1, 6)
    return UnannouncedColumns(*rows.T)
