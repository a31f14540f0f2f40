"""
Events that count as applied but wait: their account must first be read from the exchange's tables (DESIGN 6). Pure.

An account's events wait in order; while one waits, all later ones of the account do. They are part of the state:
flushed with it, and there again after a restart.
"""

from typing import Final, NamedTuple

import numpy as np

from evs_server.errors import Overloaded
from evs_server.limits import PARKED_EVENTS_MAX
from evs_server.model import ParkedColumns

TRADE, FLOW = 1, 2


class ParkedEvent(NamedTuple):
    """One waiting event; fields as in ``model.ParkedColumns``."""

    parked_id: int
    account_id: int
    kind: int
    symbol_id: int = 0
    side: int = 0
    quantity_bp: int = 0
    price_cents: int = 0
    fee_cents: int = 0
    settlement_id: int = 0
    amount_cents: int = 0


class Parked:
    """Waiting events by account, bounded by ``limits.PARKED_EVENTS_MAX`` together."""

    def __init__(self) -> None:
        self._waiting: dict[int, list[ParkedEvent]] = {}
        self._count = 0
        self._last_id = 0
        self._added_since: dict[int, ParkedEvent] = {}
        self._removed_since: list[ParkedEvent] = []

    @property
    def last_id(self) -> int:
        """The id of the newest event ever parked; ids grow."""
        return self._last_id

    @property
    def holds_any(self) -> bool:
        """Whether any event waits."""
        return bool(self._waiting)

    def holds(self, account_id: int) -> bool:
        """Whether any event of an account waits."""
        return account_id in self._waiting

    def account_ids(self) -> list[int]:
        """The accounts whose events wait, the longest waiting first."""
        return list(self._waiting)

    def require_room(self) -> None:
        """
        Return if one more event may wait.

        Raises:
            Overloaded: If too many do already.
        """
        if self._count >= PARKED_EVENTS_MAX:
            raise Overloaded(
                f"{self._count} events wait for accounts to be read, the most is {PARKED_EVENTS_MAX}",
                waiting=self._count,
                bound=PARKED_EVENTS_MAX,
            )

    def park_trade(self, account_id: int, *trade: int) -> None:
        """
        Let a trade wait.

        Args:
            trade: Symbol, side, quantity in bp, price and fee in cents, settlement id.

        Raises:
            Overloaded: If too many events wait already.
        """
        self._park(ParkedEvent(self._last_id + 1, account_id, TRADE, *trade))

    def park_flow(self, account_id: int, amount_cents: int) -> None:
        """Let a flow wait; raises as ``park_trade``."""
        self._park(ParkedEvent(self._last_id + 1, account_id, FLOW, amount_cents=amount_cents))

    def flows_and_fees_cents(self, account_id: int, last_id: int) -> tuple[int, int]:
        """What an account's waiting flows, and the fees of its waiting trades, add up to, up to an id."""
        waiting = [event for event in self._waiting.get(account_id, ()) if event.parked_id <= last_id]
        return sum(event.amount_cents for event in waiting), sum(event.fee_cents for event in waiting)

    def release(self, account_id: int, last_id: int) -> list[ParkedEvent]:
        """The events of an account up to an id, in order; they wait no longer."""
        waiting = self._waiting.pop(account_id, [])
        released = [event for event in waiting if event.parked_id <= last_id]
        kept = waiting[len(released) :]
        if kept:
            self._waiting[account_id] = kept
        self._count -= len(released)
        for event in released:
            if self._added_since.pop(event.parked_id, None) is None:
                self._removed_since.append(event)
        return released

    def capture(self) -> tuple[ParkedColumns, ParkedColumns]:
        """What was parked, and what was released of earlier captures, since the last capture."""
        added, self._added_since = self._added_since, {}
        removed, self._removed_since = self._removed_since, []
        return _columns(list(added.values())), _columns(removed)

    def restore(self, saved: ParkedColumns) -> None:
        """Take over what was captured before a restart."""
        rows = sorted(zip(*(column.tolist() for column in _arrays(saved)), strict=True))
        for row in rows:
            event = ParkedEvent(*row)
            self._waiting.setdefault(event.account_id, []).append(event)
            self._last_id = event.parked_id
        self._count = len(rows)

    def statistics(self) -> dict[str, int]:
        """How many events wait, and for how many accounts."""
        return {"parked_events": self._count, "parked_accounts": len(self._waiting)}

    def _park(self, event: ParkedEvent) -> None:
        self.require_room()
        self._last_id = event.parked_id
        self._count += 1
        self._waiting.setdefault(event.account_id, []).append(event)
        self._added_since[event.parked_id] = event


_NONE: Final = ParkedColumns.empty()
"""What nearly every flush carries of them; it is made once."""


def _arrays(columns: ParkedColumns) -> list[np.ndarray[tuple[int, ...], np.dtype[np.int64]]]:
    return [getattr(columns, name) for name in ParkedEvent._fields]


def _columns(events: list[ParkedEvent]) -> ParkedColumns:
    return ParkedColumns(*np.array(events, np.int64).reshape(-1, len(ParkedEvent._fields)).T) if events else _NONE
