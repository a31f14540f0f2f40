"""
Who follows which account, and what a slow reader loses. Pure.

Each reader has a mailbox with one slot per account it follows. A new snapshot takes the place of one not yet sent: a
slow reader skips versions, always gets the final one, and holds up nobody.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from evs_server.model import Snapshot, Valuation


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

    def offer(self, snapshot: Snapshot) -> None:
        """Put a snapshot into its account's slot, unless a newer one was put there or sent before."""
        waiting = self._slot.get(snapshot.account_id)
        newest = waiting.snapshot.version if waiting else self._sent_version.get(snapshot.account_id, -1)
        if snapshot.version <= newest:
            return
        conflated = waiting.conflated_count + 1 if waiting else 0
        self._slot[snapshot.account_id] = Pending(snapshot, conflated)
        self._on_offer()

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


class Hub:
    """Hands each pass's snapshots to the mailboxes of those who follow the accounts."""

    def __init__(self) -> None:
        self._mailboxes: dict[int, set[Mailbox]] = {}

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

    def publish(self, valuation: Valuation) -> None:
        """Offer a pass's snapshots; only those of followed accounts are ever made into one."""
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
                    mailbox.offer(snapshot)

    def statistics(self) -> dict[str, int]:
        """How many accounts are followed, and by how many mailboxes in all."""
        return {
            "followed_accounts": len(self._mailboxes),
            "subscriptions": sum(len(mailboxes) for mailboxes in self._mailboxes.values()),
        }
