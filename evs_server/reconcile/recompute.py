"""
Accounts rebuilt from all of their rows of ``trades``: what that would change, and the correction itself. Touches I/O.

An account that trades must not be rebuilt under way: a trade that is among the rows and still to be announced would
count twice. So a correction takes two looks, a grace period apart, that must have seen the same numbers on both sides.

The rows know no fees, and nothing of a position that was there before the first of them: both become part of the net
flow. That is why this shows before it changes, and changes only what was named.
"""

import asyncio
import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from evs_server.engine.correction import changes_between, corrected
from evs_server.errors import OutOfBounds
from evs_server.model import Change, Correction, CorrectionKind, Holdings, Ledger
from evs_server.ports import Books, ExchangeLedger

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Recomputed:
    """One account: what its rows change, whether that was done, and what to know about it, in words."""

    account_id: int
    changes: Sequence[Change] = ()
    applied: bool = False
    note: str = ""


class Recompute:
    """
    Rebuilds accounts.

    Args:
        books: Our side.
        ledgers: Theirs.
        grace_seconds: How long both must have stood still before anything is changed.

    Attributes:
        waiting_count: Calls that wait to see whether their accounts stand still.
    """

    def __init__(self, books: Books, ledgers: ExchangeLedger, grace_seconds: float) -> None:
        self._books = books
        self._ledgers = ledgers
        self._grace_seconds = grace_seconds
        self.waiting_count = 0

    async def recompute(self, account_ids: Collection[int], *, apply: bool) -> list[Recomputed]:
        """
        What rebuilding some accounts changes, in the order given; those to be changed are, in one step.

        Raises:
            StoreUnavailable: If the database is away.
        """
        wanted = list(dict.fromkeys(account_ids))
        before = {account_id: self._books.holdings(account_id) for account_id in wanted}
        ledgers = await self._ledgers.read_ledgers(wanted, with_trades=True)
        previews = [await self._preview(account_id, ledgers.get(account_id)) for account_id in wanted]
        if not apply or not any(preview.changes for preview in previews):
            return previews
        self.waiting_count += 1
        try:
            await asyncio.sleep(self._grace_seconds)
        finally:
            self.waiting_count -= 1
        again = await self._ledgers.read_ledgers(wanted, with_trades=True)
        return [
            self._apply(preview, before[preview.account_id], ledgers[preview.account_id], again)
            if preview.changes
            else preview
            for preview in previews
        ]

    async def _preview(self, account_id: int, theirs: Ledger | None) -> Recomputed:
        ours = self._books.holdings(account_id)
        if ours is None:
            return Recomputed(account_id, note="EVS has not loaded it: it will be, as the fold of its trades")
        if theirs is None:
            return Recomputed(account_id, note="the exchange's tables do not have it")
        # A long history takes a while to fold: not on the event loop.
        after = await asyncio.to_thread(corrected, ours, _correction(theirs))
        return Recomputed(account_id, changes_between(ours, after), note=_doubt(after, theirs))

    def _apply(
        self, preview: Recomputed, before: Holdings | None, theirs: Ledger, again: Mapping[int, Ledger]
    ) -> Recomputed:
        account_id = preview.account_id
        still = self._books.holdings(account_id) == before and again.get(account_id) == theirs
        if not still or not self._books.is_quiet(account_id):
            return Recomputed(
                account_id, preview.changes, note="it is trading, so nothing was changed; try again when it is quiet"
            )
        try:
            changes = self._books.correct(_correction(theirs), theirs)
        except OutOfBounds as error:
            return Recomputed(account_id, preview.changes, note=f"it cannot be changed: {error.message}")
        log.warning("recomputed account %d from %d rows of trades", account_id, len(theirs.trades))
        return Recomputed(account_id, changes, applied=True, note=preview.note)


def _correction(theirs: Ledger) -> Correction:
    return Correction(theirs.account_id, CorrectionKind.RECOMPUTE, requested=True, trades=theirs.trades)


def _doubt(after: Holdings, theirs: Ledger) -> str:
    """Where the rows do not lead to the quantities that the exchange itself has."""
    symbols = sorted(
        symbol_id
        for symbol_id in after.held.keys() | theirs.quantity_bp.keys()
        if (after.held[symbol_id].quantity_bp if symbol_id in after.held else 0) != theirs.quantity_bp.get(symbol_id, 0)
    )
    if not symbols:
        return ""
    shown = ", ".join(str(symbol_id) for symbol_id in symbols[:10])
    return f"mind: its trades do not add up to what the exchange says it holds of symbols {shown}"
