"""
What one stream of ``WatchEquity`` follows: the accounts it asked for, or every account. Touches I/O: looks accounts up.

Lives here: what a request changes, and which messages are due. Not here: what a slow reader loses (``hub``), fields
(``codec``), sending (``servicer``).

An account is registered first and read then, with nothing awaited in between: no change falls into the gap. One that is
not in memory is looked up by a task beside the stream, which never waits for it; a database that is away delays that
account and nobody else. Invariants: of one account versions only grow, but for an account that was removed and added
again, which begins anew; memory is bounded by ``limits.WATCHED_ACCOUNTS_MAX`` and ``WATCH_ROWS_MAX``.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from evs.v1 import evs_pb2 as pb

from evs_server.errors import InvalidRequest, OutOfBounds, Overloaded, StoreUnavailable
from evs_server.fanout import codec
from evs_server.fanout.hub import Hub, Mailbox, PassBox, Sheet
from evs_server.limits import WATCH_CHANGES_MAX, WATCH_UPDATES_MAX, WATCHED_ACCOUNTS_MAX
from evs_server.lookup import check_account_id
from evs_server.ports import AccountLookup, NewestValues

LOOK_UP_AGAIN_SECONDS: Final = 1.0
"""Between two attempts to look accounts up, while the database is away."""


class Watch:
    """
    The accounts of one stream, and what is due of them.

    Args:
        engine: Has the accounts that are known.
        hub: Hands out changes.
        accounts: Knows where to find others.
        wake: Called when a message may be due; must return at once.
    """

    def __init__(self, engine: NewestValues, hub: Hub, accounts: AccountLookup, wake: Callable[[], None]) -> None:
        self._engine = engine
        self._hub = hub
        self._accounts = accounts
        self._wake = wake
        self._mailbox = Mailbox(wake)
        self._pass_box: PassBox | None = None
        self._followed: set[int] = set()
        self._fresh: set[int] = set()
        self._sought: set[int] = set()
        self._seeking: asyncio.Task[None] | None = None
        self._refused: list[int] = []

    def change(self, request: pb.WatchEquityRequest) -> None:
        """
        Follow and no longer follow what a request says, what it removes first.

        Raises:
            InvalidRequest, OutOfBounds: If it asks for what cannot be; nothing has changed then.
        """
        self._check(request)
        for account_id in request.remove:
            self._remove(account_id)
        unknown = []
        for account_id in request.add:
            if self._engine.knows(account_id):
                self._add(account_id)
            elif account_id not in self._sought:
                unknown.append(account_id)
        if request.all and self._pass_box is None:
            self._follow_all()
        if unknown:
            self._sought.update(unknown)
            self._seek()

    def messages(self) -> Iterator[pb.WatchEquityResponse]:
        """Everything that is due, in messages of bounded size; each is made when it is asked for."""
        self._end_search()
        if self._refused:
            refused, self._refused = self._refused, []
            yield codec.encode_refused(refused)
        pending = self._mailbox.drain()
        for start in range(0, len(pending), WATCH_UPDATES_MAX):
            yield codec.encode_updates(
                (each, self._is_first(each.snapshot.account_id)) for each in pending[start : start + WATCH_UPDATES_MAX]
            )
        sheet = self._sheet()
        for start in range(0, len(sheet.table) if sheet else 0, WATCH_UPDATES_MAX):
            assert sheet is not None
            yield codec.encode_rows(sheet, start, start + WATCH_UPDATES_MAX)

    def close(self) -> None:
        """Follow nothing any more."""
        for account_id in self._followed:
            self._hub.unfollow(account_id, self._mailbox)
        if self._pass_box is not None:
            self._hub.unfollow_all(self._pass_box)
        if self._seeking is not None:
            self._seeking.cancel()

    def _check(self, request: pb.WatchEquityRequest) -> None:
        count = len(request.add) + len(request.remove)
        if count > WATCH_CHANGES_MAX:
            raise InvalidRequest(
                "add",
                f"add and remove name {count} accounts together, the most is {WATCH_CHANGES_MAX}",
                count=count,
                bound=WATCH_CHANGES_MAX,
            )
        if count and (request.all or self._pass_box is not None):
            raise InvalidRequest("all", "a stream of all accounts takes no account to add or remove")
        for field, account_ids in (("add", request.add), ("remove", request.remove)):
            for account_id in account_ids:
                check_account_id(field, account_id)
        wanted = len((self._followed | self._sought).difference(request.remove).union(request.add))
        if wanted > WATCHED_ACCOUNTS_MAX:
            raise OutOfBounds(
                "add",
                f"the stream would follow {wanted} accounts, the most is {WATCHED_ACCOUNTS_MAX}; follow all instead",
                count=wanted,
                bound=WATCHED_ACCOUNTS_MAX,
            )

    def _add(self, account_id: int) -> None:
        if account_id in self._followed:
            return
        self._followed.add(account_id)
        self._fresh.add(account_id)
        self._hub.follow(account_id, self._mailbox)
        current = self._engine.snapshot(account_id)
        assert current is not None, "an account that is known has been valued"
        self._mailbox.offer(current)

    def _remove(self, account_id: int) -> None:
        self._sought.discard(account_id)
        self._fresh.discard(account_id)
        if account_id in self._followed:
            self._followed.remove(account_id)
            self._hub.unfollow(account_id, self._mailbox)

    def _follow_all(self) -> None:
        for account_id in tuple(self._followed):
            self._remove(account_id)
        self._sought.clear()
        self._pass_box = PassBox(self._wake)
        self._hub.follow_all(self._pass_box)
        self._wake()

    def _sheet(self) -> Sheet | None:
        if self._pass_box is None:
            return None
        if self._pass_box.behind:
            return self._pass_box.begin(self._engine.latest_snapshots())
        return self._pass_box.drain()

    def _is_first(self, account_id: int) -> bool:
        if account_id in self._fresh:
            self._fresh.remove(account_id)
            return True
        return False

    def _seek(self) -> None:
        self._end_search()
        if self._seeking is None:
            self._seeking = asyncio.create_task(self._look_up(), name="accounts of a watch")
            self._seeking.add_done_callback(lambda _: self._wake())

    def _end_search(self) -> None:
        if self._seeking is not None and self._seeking.done():
            seeking, self._seeking = self._seeking, None
            # What nobody expected of it goes the way of the method that it was done for.
            seeking.result()

    async def _look_up(self) -> None:
        while self._sought:
            asked: Sequence[int] = sorted(self._sought)[:WATCH_CHANGES_MAX]
            try:
                refused = await self._accounts.ensure(asked)
            except (StoreUnavailable, Overloaded):
                await asyncio.sleep(LOOK_UP_AGAIN_SECONDS)
                continue
            # What was removed in the meantime, or is followed as one of all, is not sought any more.
            for account_id in self._sought.intersection(asked):
                self._sought.remove(account_id)
                if account_id in refused:
                    self._refused.append(account_id)
                else:
                    self._add(account_id)
            self._wake()
