"""
Our side of reconciliation, as a worker has it: the books of all its virtual shards as one. Reads no clock, does no I/O.
"""

from collections.abc import Callable, Collection, Mapping, Sequence

from evs_server.cluster.shards import LOG, SHARD_COUNT, shard_of
from evs_server.errors import StoreUnavailable
from evs_server.model import Change, Correction, Holdings, Ledger, SettledTrade
from evs_server.ports import Books

_ABSENT = (0, 0, 0)


class UnitedBooks:
    """
    A ``ports.Books`` of several; each account is in those of its virtual shard.

    Args:
        books: Those that are here now, by virtual shard.
    """

    def __init__(self, books: Callable[[], Mapping[int, Books]]) -> None:
        self._books = books

    def account_ids(self) -> Sequence[int]:
        """All accounts in memory."""
        return [account_id for books in self._books().values() for account_id in books.account_ids()]

    def holdings(self, account_id: int) -> Holdings | None:
        """An account's live numbers, or None if it is not in memory."""
        books = self._of(account_id)
        return None if books is None else books.holdings(account_id)

    def is_quiet(self, account_id: int) -> bool:
        """Whether nothing of an account is under way; one whose virtual shard has gone is not quiet."""
        books = self._of(account_id)
        return books is not None and books.holdings(account_id) is not None and books.is_quiet(account_id)

    def watermarks(self) -> Mapping[str, tuple[int, int, int]]:
        """How far the log is applied and committed, by virtual shard; those that are not here have another epoch."""
        books = self._books()
        return {
            f"virtual shard {shard}": books[shard].watermarks()[LOG] if shard in books else _ABSENT
            for shard in range(SHARD_COUNT)
        }

    def applied_trades(self, account_id: int, trades: Sequence[SettledTrade]) -> Collection[int]:
        """Ids of those of an account's trades that are known to be in its books; others may be, too."""
        books = self._of(account_id)
        return () if books is None else books.applied_trades(account_id, trades)

    def correct(self, correction: Correction, theirs: Ledger) -> Sequence[Change]:
        """
        Apply a correction, whole; it is flushed soon.

        Raises:
            OutOfBounds: If it would take the account out of bounds; nothing has changed then.
            StoreUnavailable: If its virtual shard has gone; so does ``holdings`` say before.
        """
        books = self._of(correction.account_id)
        if books is None:
            raise StoreUnavailable(f"account {correction.account_id} has moved to another worker")
        return books.correct(correction, theirs)

    def _of(self, account_id: int) -> Books | None:
        return self._books().get(shard_of(account_id))
