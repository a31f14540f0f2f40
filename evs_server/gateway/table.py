"""
The newest snapshot of every account of every shard, as shards tell them. Pure.

It looks to readers like the engine of a process that has all accounts, and it is a copy: whatever is lost of it can be
asked for again. Invariants: an account's version only grows; a row, once given, stays the account's.
"""

from dataclasses import fields
from typing import Final

import numpy as np

from evs_server.engine.index import IdIndex
from evs_server.engine.tables import NO_ROW
from evs_server.model import BoolArray, EngineMeta, Int64Array, Snapshot, SnapshotColumns

_NAMES: Final = [field.name for field in fields(SnapshotColumns)]
_ACCOUNT, _VERSION = _NAMES.index("account_id"), _NAMES.index("version")
_FIRST_ROWS: Final = 1_024


class SnapshotTable:
    """
    Snapshots by account.

    Attributes:
        session_start_ms: When the current session began, as far as shards have told; see ``EngineMeta``.
    """

    def __init__(self) -> None:
        self._index = IdIndex()
        self._table: Int64Array = np.zeros((len(_NAMES), _FIRST_ROWS), np.int64)
        self._count = 0
        self._version = 0
        self.session_start_ms = EngineMeta(version=0).session_start_ms

    def put(self, snapshots: SnapshotColumns) -> BoolArray:
        """
        Take over what is newer than what is here.

        Args:
            snapshots: Each account at most once.

        Returns:
            Which rows were: the others are as old as what is known, or older.
        """
        columns = np.array([getattr(snapshots, name) for name in _NAMES], np.int64)
        row = self._rows(columns[_ACCOUNT])
        newer: BoolArray = columns[_VERSION] > self._table[_VERSION, row]
        self._table[:, row[newer]] = columns[:, newer]
        self._version = max(self._version, int(columns[_VERSION].max(initial=0)))
        return newer

    # --- as the engine has it --------------------------------------------------------------------------------

    @property
    def account_count(self) -> int:
        """How many accounts are known."""
        return self._count

    @property
    def meta(self) -> EngineMeta:
        """The newest version of any shard, and the session."""
        return EngineMeta(version=self._version, session_start_ms=self.session_start_ms)

    def knows(self, account_id: int) -> bool:
        """Whether an account is known."""
        return self._row(account_id) != NO_ROW

    def unknown(self, account_id: Int64Array) -> Int64Array:
        """Which of some accounts are not known, each once."""
        return np.unique(account_id[self._index.find(account_id) == NO_ROW])

    def snapshot(self, account_id: int) -> Snapshot | None:
        """An account's newest snapshot, or None."""
        row = self._row(account_id)
        return None if row == NO_ROW else Snapshot(*self._table[:, row].tolist())

    def account_ids(self) -> Int64Array:
        """All accounts, in the order they became known."""
        return self._table[_ACCOUNT, : self._count].copy()

    def latest_snapshots(self) -> SnapshotColumns:
        """Every account's newest snapshot, in that order."""
        return SnapshotColumns(*self._table[:, : self._count].copy())

    # --- inside ----------------------------------------------------------------------------------------------

    def _row(self, account_id: int) -> int:
        return int(self._index.find(np.array([account_id], np.int64))[0])

    def _rows(self, account_id: Int64Array) -> Int64Array:
        row = self._index.find(account_id)
        new = account_id[row == NO_ROW]
        if not len(new):
            return row
        self._reserve(len(new))
        self._index.put(new, self._count)
        self._table[_ACCOUNT, self._count : self._count + len(new)] = new
        self._table[_VERSION, self._count : self._count + len(new)] = -1
        self._count += len(new)
        return self._index.find(account_id)

    def _reserve(self, more: int) -> None:
        needed, room = self._count + more, self._table.shape[1]
        if needed > room:
            grown = np.zeros((len(_NAMES), max(needed, 2 * room)), np.int64)
            grown[:, : self._count] = self._table[:, : self._count]
            self._table = grown
