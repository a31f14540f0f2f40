"""
How every read finds its account: the id checked, the account made known, its newest snapshot. Touches I/O.

Lives here: what the servicers of several rooms do alike before anything else. Not here: what they read.
"""

from evs_server.errors import InvalidRequest, OutOfBounds
from evs_server.limits import EXACT_MAX
from evs_server.model import Snapshot
from evs_server.ports import AccountLookup, NewestValues


async def look_up(account_id: int, engine: NewestValues, accounts: AccountLookup) -> Snapshot:
    """
    An account's newest snapshot; an account that the exchange has only just created is read first.

    Args:
        account_id: As the caller sent it.
        engine: Has the accounts that are known.
        accounts: Knows where to find others.

    Raises:
        InvalidRequest, OutOfBounds: If the id cannot be one.
        UnknownAccount: If the exchange has no such account.
        StoreUnavailable: If Postgres, which knows, is away.
    """
    check_account_id("account_id", account_id)
    snapshot = engine.snapshot(account_id)
    if snapshot is None:
        refused = await accounts.ensure((account_id,))
        if account_id in refused:
            raise refused[account_id]
        snapshot = engine.snapshot(account_id)
        assert snapshot is not None, "an account that is not refused is known"
    return snapshot


def check_account_id(field: str, account_id: int) -> None:
    """
    Refuse an id that no account can have.

    Raises:
        InvalidRequest, OutOfBounds: Naming ``field``.
    """
    if account_id <= 0:
        raise InvalidRequest(field, f"{field} must be positive, not {account_id}", value=account_id)
    if account_id > EXACT_MAX:
        raise OutOfBounds(field, f"{field} is {account_id}, the most is {EXACT_MAX}", value=account_id, bound=EXACT_MAX)
