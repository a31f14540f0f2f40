"""
Who follows which account, and what a slow reader loses. Pure.

Each reader has a mailbox with one slot per account it follows. A new snapshot takes the place of one not yet sent: a
slow reader skips versions, always gets the final one, and holds up nobody. Who follows every account has a pass box
instead: whole passes, which all such readers share, and which none may pile up.
"""

from collections.abc import Callable
from dataclasses import fields
from typing import NamedTuple

import numpy as np

from evs_server.limits import WATCH_ROWS_MAX
from evs_server.model import Int64Array, Snapshot, SnapshotColumns, Valuation, table_of


class Pending(NamedTuple):
    """A snapshot to send, and how many before it were skipped since the last one sent."""

    snapshot: Snapshot
    conflated_count: int


class Mailbox:
    """
    What one reader has yet to be sent: the latest snapshot of each account it follows.

    Args:
        on_offer: Called when something has come in, to wake the reader; must return at once.
    """

    def __init__(self, on_offer: Callable[[], None]) -> None:
        self._on_offer = on_offer
        self._slot: dict[int, Pending] = {}
        self._sent_version: dict[int, int] = {}

    def offer(self, snapshot: Snapshot) -> bool:
        """
        Put a snapshot into its account's slot, unless a newer one was put there or sent before.

        Returns:
            Whether it took the place of one that will never be sent.
        """
        waiting = self._slot.get(snapshot.account_id)
        newest = waiting.snapshot.version if waiting else self._sent_version.get(snapshot.account_id, -1)
        if snapshot.version <= newest:
            return False
        conflated = waiting.conflated_count + 1 if waiting else 0
        self._slot[snapshot.account_id] = Pending(snapshot, conflated)
        self._on_offer()
        return waiting is not None

    def drain(self) -> list[Pending]:
        """What is to be sent now; the slots are empty afterwards."""
        pending = list(self._slot.values())
        self._slot.clear()
        for each in pending:
            self._sent_version[each.snapshot.account_id] = each.snapshot.version
        return pending

    def forget(self, account_id: int) -> None:
        """Drop an account's slot and its past; its reader follows it no longer."""
        self._slot.pop(account_id, None)
        self._sent_version.pop(account_id, None)


class Sheet(NamedTuple):
    """
    Rows to send, one an account.

    Attributes:
        table: Their numbers.
        conflated_count: How many before each were skipped since the last one sent; aligned with the table.
        first: True if the reader begins anew with these.
    """

    table: SnapshotColumns
    conflated_count: Int64Array
    first: bool


class PassBox:
    """
    What one reader of every account has yet to be sent.

    Passes wait as they were made. When they become too many, they are let go of, and the reader begins anew: it takes
    no memory, and no time of anyone else's, however long it takes nothing.

    Args:
        on_offer: Called when something has come in, to wake the reader; must return at once.
        rows_max: Rows that may wait; one pass may be larger by itself.
    """

    def __init__(self, on_offer: Callable[[], None], rows_max: int = WATCH_ROWS_MAX) -> None:
        self._on_offer = on_offer
        self._rows_max = rows_max
        self._waiting: list[Valuation] = []
        self._row_count = 0
        self.behind = True

    def offer(self, valuation: Valuation) -> None:
        """Put a pass behind those that wait, unless they are being let go of."""
        if not len(valuation):
            return
        if not self.behind:
            self._waiting.append(valuation)
            self._row_count += len(valuation)
            if self._row_count > self._rows_max and len(self._waiting) > 1:
                self.behind = True
                self._clear()
        self._on_offer()

    def begin(self, latest: SnapshotColumns) -> Sheet:
        """
        What a reader that has just come, or is ``behind``, is to be sent now; passes wait again from here on.

        Args:
            latest: The newest snapshot of every account, as of this moment.
        """
        self.behind = False
        self._clear()
        return Sheet(latest, np.zeros(len(latest), np.int64), first=True)

    def drain(self) -> Sheet | None:
        """What is to be sent now, the newest of each account, or None; nothing waits afterwards."""
        passes = self._waiting
        if not passes:
            return None
        self._clear()
        table = table_of(passes)
        return Sheet(table, np.zeros(len(table), np.int64), first=False) if len(passes) == 1 else _newest(table)

    def _clear(self) -> None:
        self._waiting, self._row_count = [], 0


class Hub:
    """
    Hands each pass's snapshots to the mailboxes of those who follow the accounts.

    Attributes:
        conflated_count: Snapshots that a newer one took the place of, since the start.
        evicted_count: Readers that were cut off because they took nothing, since the start.
    """

    def __init__(self) -> None:
        self.conflated_count = 0
        self.evicted_count = 0
        self._mailboxes: dict[int, set[Mailbox]] = {}
        self._pass_boxes: set[PassBox] = set()

    def follow(self, account_id: int, mailbox: Mailbox) -> None:
        """Offer an account's snapshots to a mailbox from now on."""
        self._mailboxes.setdefault(account_id, set()).add(mailbox)

    def unfollow(self, account_id: int, mailbox: Mailbox) -> None:
        """Offer them no longer; does nothing if they were not."""
        mailbox.forget(account_id)
        followers = self._mailboxes.get(account_id)
        if followers is not None:
            followers.discard(mailbox)
            if not followers:
                del self._mailboxes[account_id]

    def follow_all(self, pass_box: PassBox) -> None:
        """Offer every pass from now on."""
        self._pass_boxes.add(pass_box)

    def unfollow_all(self, pass_box: PassBox) -> None:
        """Offer them no longer; does nothing if they were not."""
        self._pass_boxes.discard(pass_box)

    def publish(self, valuation: Valuation) -> None:
        """Offer a pass's snapshots; only those of followed accounts are ever made into one."""
        for pass_box in self._pass_boxes:
            pass_box.offer(valuation)
        if not self._mailboxes:
            return
        if len(valuation) == 1:
            indexes = [0]
        else:
            followed = np.fromiter(self._mailboxes, np.int64, len(self._mailboxes))
            indexes = np.flatnonzero(np.isin(valuation.account_id, followed)).tolist()
        for index in indexes:
            mailboxes = self._mailboxes.get(valuation.account_id.item(index))
            if mailboxes:
                snapshot = valuation.snapshot(index)
                for mailbox in mailboxes:
                    self.conflated_count += mailbox.offer(snapshot)

    def note_evicted(self) -> None:
        """Count a reader that was cut off."""
        self.evicted_count += 1

    def statistics(self) -> dict[str, int]:
        """How many accounts are followed one by one, and by how many mailboxes in all."""
        return {
            "followed_accounts": len(self._mailboxes),
            "subscriptions": sum(len(mailboxes) for mailboxes in self._mailboxes.values()),
        }

    @property
    def reader_of_all_count(self) -> int:
        """How many readers follow every account."""
        return len(self._pass_boxes)


def _newest(table: SnapshotColumns) -> Sheet:
    """The last row of each account, ascending by account, and how many came before it."""
    account_id = table.account_id
    order = np.argsort(account_id, kind="stable")
    ascending = account_id[order]
    end = np.append(np.flatnonzero(ascending[1:] != ascending[:-1]), len(ascending) - 1)
    count = np.diff(end, prepend=-1)
    columns = (getattr(table, field.name)[order[end]] for field in fields(table))
    return Sheet(SnapshotColumns(*columns), count - 1, first=False)
