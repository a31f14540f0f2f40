"""The newest snapshot of every account, as a gateway has it."""

import numpy as np

from evs_server.gateway.table import SnapshotTable
from evs_server.model import SnapshotColumns


def snapshots(*rows: tuple[int, int, int]) -> SnapshotColumns:
    """Of ``(account, version, equity)``."""
    table = np.zeros((13, len(rows)), np.int64)
    for at, (account_id, version, equity) in enumerate(rows):
        table[[0, 1, 4], at] = account_id, version, equity
    return SnapshotColumns(*table)


def test_a_newer_version_takes_the_place_of_an_older_one_and_never_the_other_way_round() -> None:
    table = SnapshotTable()
    assert [True, True] == table.put(snapshots((7, 2, 100), (8, 2, 200))).tolist()
    assert [False, True] == table.put(snapshots((7, 1, 999), (8, 3, 300))).tolist()
    assert [False] == table.put(snapshots((8, 3, 999))).tolist()
    found = table.snapshot(7), table.snapshot(8)
    assert [(2, 100), (3, 300)] == [(each.version, each.equity_cents) for each in found if each]
    assert 3 == table.meta.version


def test_an_account_nobody_told_of_is_unknown() -> None:
    table = SnapshotTable()
    table.put(snapshots((7, 1, 100)))
    assert table.knows(7)
    assert not table.knows(8)
    assert table.snapshot(8) is None
    assert [8, 9] == table.unknown(np.array([9, 7, 8, 9])).tolist()


def test_rows_stay_in_the_order_in_which_accounts_became_known() -> None:
    """Growths of the ranking are kept by row."""
    table = SnapshotTable()
    for account_id in range(5_000, 0, -1):
        table.put(snapshots((account_id, 1, account_id)))
    table.put(snapshots((5_001, 1, 5_001), (1, 2, 11)))
    assert [5_000, 4_999, 1, 5_001] == table.account_ids()[[0, 1, 4_999, 5_000]].tolist()
    latest = table.latest_snapshots()
    assert [5_000, 11, 5_001] == latest.equity_cents[[0, 4_999, 5_000]].tolist()
    assert 5_001 == table.account_count == len(latest)


def test_nothing_to_put_changes_nothing() -> None:
    table = SnapshotTable()
    assert 0 == len(table.put(snapshots()))
    assert 0 == table.account_count
