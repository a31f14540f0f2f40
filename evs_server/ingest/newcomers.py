"""
Accounts loaded not long ago, and what they had been funded with by then (DESIGN 6). Pure.

The exchange writes a deposit before it tells us, and there is no id on a flow: whether an announced one was in the
cash an account was loaded with, only the tables can say. Balance less what the ``trades`` rows did to it is what was
paid in, by the exchange's own account. While an account is new, that is what its flows are booked from: what the tables
have and we do not.

A settlement that is not atomic may have been read half way: balance written and row not, or the other way round. So
each newcomer is read again until two looks agree, and what they have more than we do is booked.

A worked example, in cents: loaded with 1,000,500 and one sale of 300, so funded with 1,000,200; then a deposit of 200
is announced. If the tables say 1,000,200 still, it was in the cash already; if they say 1,000,400, it is booked.
"""

from typing import Final

import numpy as np

from evs_server.engine.accounting import cash_change_cents
from evs_server.limits import NEWCOMER_MS
from evs_server.model import ExchangeAccount, NewcomerColumns

_NONE: Final = NewcomerColumns.empty()
"""What nearly every flush carries of them; it is made once."""


def funding_cents(account: ExchangeAccount) -> int:
    """What was paid into an account, less what was paid out, by the exchange's tables; fees count as paid out."""
    return account.cash_cents - cash_change_cents(account.trades)


class Newcomers:
    """The accounts that are new, each with the funding we have taken over."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[int, int]] = {}
        self._changed: set[int] = set()
        self._suspect: dict[int, int | None] = {}
        self._kept: set[int] = set()

    def welcome(self, account: ExchangeAccount, now_ms: int) -> None:
        """Take note of an account just loaded; until it has been read again, it may have been read half way."""
        self.hold(account.account_id, funding_cents(account), now_ms)

    def hold(self, account_id: int, funding: int, now_ms: int) -> None:
        """Take note of an account that had been funded with so many cents when it was loaded."""
        self._set(account_id, funding, now_ms + NEWCOMER_MS)
        self.suspect(account_id)

    def holds(self, account_id: int, now_ms: int) -> bool:
        """Whether an account is new."""
        known = self._known.get(account_id)
        if known is not None and now_ms >= known[1]:
            self.forget(account_id)
        return account_id in self._known

    def forget(self, account_id: int) -> None:
        """Hold an account no longer, nor after a restart, though the clock may be set back."""
        if self._known.pop(account_id, None) is not None:
            self._changed.add(account_id)
        self._suspect.pop(account_id, None)
        self._kept.discard(account_id)

    def known_cents(self, account_id: int) -> int | None:
        """The funding of an account that has been taken over, or None if it is not new."""
        known = self._known.get(account_id)
        return None if known is None else known[0]

    def keep(self, account_id: int) -> None:
        """Take note that an account's balance was seen to move with its flows: the tables are kept."""
        self._kept.add(account_id)

    def is_kept(self, account: ExchangeAccount) -> bool:
        """Whether anything shows that the exchange writes an account's flows into its tables."""
        return bool(account.trades) or account.changed or account.account_id in self._kept

    @property
    def has_suspects(self) -> bool:
        """Whether any account was suspected and has not been cleared since."""
        return bool(self._suspect)

    def suspects(self, now_ms: int) -> list[int]:
        """The accounts to read again."""
        return [account_id for account_id in list(self._suspect) if self.holds(account_id, now_ms)]

    def suspect(self, account_id: int) -> None:
        """Have an account read again: what the tables have of it may have been in the making."""
        self._suspect[account_id] = None

    def settled_cents(self, account: ExchangeAccount) -> int:
        """What is to be booked after reading a new account again: what two looks in a row agree on."""
        account_id = account.account_id
        if account_id not in self._suspect:
            return 0
        if not self.is_kept(account):
            del self._suspect[account_id]
            return 0
        undeclared = self.undeclared_cents(account)
        if self._suspect[account_id] != undeclared:
            self._suspect[account_id] = undeclared
            return 0
        del self._suspect[account_id]
        return undeclared

    def undeclared_cents(self, account: ExchangeAccount) -> int:
        """What was paid in by the exchange's tables and has not been taken over."""
        return funding_cents(account) - self._known[account.account_id][0]

    def explains(self, account: ExchangeAccount, flows_cents: int, fees_cents: int = 0) -> bool:
        """Whether the tables, as read, have all of some flows, or none, or tell nothing of them; but for fees."""
        return not self.is_kept(account) or self.undeclared_cents(account) + fees_cents in (0, flows_cents)

    def take_over(self, account_id: int, amount_cents: int) -> None:
        """Take note that a flow (or, negative, a fee) of an account is booked; does nothing for one not new."""
        known = self._known.get(account_id)
        if known is not None and amount_cents:
            self._set(account_id, known[0] + amount_cents, known[1])

    def capture(self) -> NewcomerColumns:
        """What changed since the last capture."""
        if not self._changed:
            return _NONE
        rows = [(account_id, *self._known.get(account_id, (0, 0))) for account_id in self._changed]
        self._changed = set()
        return NewcomerColumns(*np.array(rows, np.int64).reshape(-1, 3).T)

    def restore(self, saved: NewcomerColumns) -> None:
        """Take over what was captured before a restart."""
        rows = zip(saved.account_id.tolist(), saved.funding_cents.tolist(), saved.until_ms.tolist(), strict=True)
        self._known = {account_id: (funding, until_ms) for account_id, funding, until_ms in rows if until_ms}
        self._suspect = dict.fromkeys(self._known)

    def _set(self, account_id: int, funding: int, until_ms: int) -> None:
        self._known[account_id] = (funding, until_ms)
        self._changed.add(account_id)
