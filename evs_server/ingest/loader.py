"""
Reads accounts from the exchange's tables: for who asks, and for events that wait. Touches I/O.

What is read is taken in with nothing awaited in between, so a trade is either among the rows read, and its announcement
is skipped, or announced later, and applied. Who asks waits; events never do: they are parked, and ``run`` reads their
accounts as soon as the database lets it.
"""

import asyncio
import logging
import math
from collections.abc import Callable, Collection, Mapping, Sequence

from evs_server.clock import Clock
from evs_server.errors import OutOfBounds, Overloaded, RequestError, StoreUnavailable, UnknownAccount
from evs_server.ingest.intake import Intake
from evs_server.limits import LOADS_MAX
from evs_server.model import ExchangeAccount
from evs_server.ports import ExchangeTables

log = logging.getLogger(__name__)

CHUNK_ACCOUNTS = 1_000
LOOKS_AT_ONCE = 2
FAILING_SECONDS = 1.0
FAILING_SECONDS_MAX = 10.0
LOOK_SECONDS = 0.1
LOOKS_MAX = 5
"""How often an account is read again that its own tables do not explain: a settlement may be half way."""


class Loader:
    """
    Looks up unknown accounts, each once however many ask.

    Args:
        deadline_seconds: Longest look at the exchange's tables.

    Attributes:
        on_change: Called when parked events have been taken up.
        loaded_count: Accounts taken in since the start.
        failed_count: Looks at the tables that failed since the start.
    """

    def __init__(self, intake: Intake, tables: ExchangeTables, clock: Clock, deadline_seconds: float = 5.0) -> None:
        self._intake = intake
        self._tables = tables
        self._clock = clock
        self._deadline_seconds = deadline_seconds
        self._loading: dict[int, asyncio.Task[Mapping[int, RequestError]]] = {}
        self._wanted = asyncio.Event()
        self.on_change: Callable[[], None] = lambda: None
        self._failed_at = -math.inf
        self._failure_count = 0
        self.loaded_count = 0
        self.failed_count = 0
        self._looks: dict[int, int] = {}
        # Whoever asks, and however many: the database has other things to do.
        self._turn = asyncio.Semaphore(LOOKS_AT_ONCE)

    @property
    def is_failing(self) -> bool:
        """Whether the last look at the tables failed, a moment ago: another would keep its caller waiting in vain."""
        wait_seconds = min(FAILING_SECONDS * self._failure_count, FAILING_SECONDS_MAX)
        return self._clock.monotonic() - self._failed_at < wait_seconds

    def note_failure(self) -> None:
        """Take note that a look at the tables failed, or took too long."""
        self._failed_at = self._clock.monotonic()
        self._failure_count += 1
        self.failed_count += 1

    def look_after_parked(self) -> None:
        """Have the accounts of parked events read."""
        self._wanted.set()

    async def run(self) -> None:
        """Resolve parked events until cancelled; one task of ``app`` runs this."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            try:
                waiting = await self._resolve_waiting()
                suspected = await self._recheck_suspects()
            except (StoreUnavailable, Overloaded) as error:
                if self._failure_count == 1:
                    log.warning("%d accounts wait to be read: %s", len(self._intake.waiting_accounts()), error.message)
                self._wanted.set()
                await asyncio.sleep(FAILING_SECONDS)
                continue
            self.on_change()
            if waiting or suspected:
                self._wanted.set()
                await asyncio.sleep(LOOK_SECONDS)

    async def _resolve_waiting(self) -> bool:
        """Whether any account's events wait still."""
        waiting = self._intake.waiting_accounts()
        for start in range(0, len(waiting), CHUNK_ACCOUNTS):
            account_ids = waiting[start : start + CHUNK_ACCOUNTS]
            last_parked_id = self._intake.last_parked_id
            moments = {account_id: self._intake.moment(account_id) for account_id in account_ids}
            found = await self.read(account_ids)
            # What moved meanwhile is left for the next look: this one may be older than what has been taken over.
            current = [each for each in account_ids if self._intake.moment(each) == moments[each]]
            fresh = [found[each] for each in current if each in found and not self._intake.knows(each)]
            refused = self._take_in(fresh)
            for account_id in current:
                self._resolve(account_id, None if account_id in refused else found.get(account_id), last_parked_id)
        still_waiting = self._intake.waiting_accounts()
        self._looks = {each: self._looks.get(each, 0) + 1 for each in still_waiting}
        return bool(still_waiting)

    def _resolve(self, account_id: int, account: ExchangeAccount | None, last_parked_id: int) -> None:
        now_ms = self._clock.now_ms()
        if account is not None:
            patient = self._looks.get(account_id, 0) < LOOKS_MAX
            self._intake.resolve(account, last_parked_id, now_ms, patient=patient)
        elif self._intake.knows(account_id):
            self._intake.resolve_unseen(account_id, last_parked_id, now_ms)
        else:
            dropped = self._intake.drop_parked(account_id, last_parked_id)
            log.error("%d events of account %d are given up: it cannot be had", dropped, account_id)

    async def _recheck_suspects(self) -> bool:
        """Whether any account has yet to be read again."""
        account_ids = self._intake.suspects(self._clock.now_ms())
        for start in range(0, len(account_ids), CHUNK_ACCOUNTS):
            found = await self.look(account_ids[start : start + CHUNK_ACCOUNTS])
            now_ms = self._clock.now_ms()
            for account in found.values():
                self._intake.recheck(account, now_ms)
        return bool(self._intake.suspects(self._clock.now_ms()))

    async def look(self, account_ids: Collection[int]) -> Mapping[int, ExchangeAccount]:
        """As ``read``, without accounts of which flows were taken over meanwhile: what was read of them is outdated."""
        moments = {account_id: self._intake.moment(account_id) for account_id in account_ids}
        found = await self.read(account_ids)
        return {each: account for each, account in found.items() if self._intake.moment(each) == moments[each]}

    async def ensure(self, account_ids: Collection[int]) -> Mapping[int, RequestError]:
        """
        Load those accounts that are not known yet.

        Returns:
            Those that cannot be had, each with the reason.

        Raises:
            StoreUnavailable: If the exchange's tables cannot be read.
            Overloaded: If too many unknown accounts are being looked up already, or there is no room for more accounts.
        """
        unknown = {account_id for account_id in account_ids if not self._intake.knows(account_id)}
        fresh = unknown - self._loading.keys()
        # One batch may name more than that by itself: its size is bounded, and it must pass some time.
        if self._loading and len(self._loading) + len(fresh) > LOADS_MAX:
            raise Overloaded(
                f"{len(self._loading)} unknown accounts are being looked up already; the most is {LOADS_MAX}",
                waiting=len(self._loading),
                bound=LOADS_MAX,
            )
        if fresh:
            self._loading.update(dict.fromkeys(fresh, asyncio.create_task(self._load(sorted(fresh)))))
        refused: dict[int, RequestError] = {}
        for task in {self._loading[account_id] for account_id in unknown}:
            # Shielded: who gives up must not take the load away from the others that wait for it.
            refused.update(await asyncio.shield(task))
        # A look that had begun before we asked may have missed an account that was made in between.
        missed = {each for each in unknown - fresh if isinstance(refused.get(each), UnknownAccount)}
        if missed:
            refused = {each: error for each, error in refused.items() if each not in missed}
            refused.update(await self.ensure(missed))
        return {account_id: refused[account_id] for account_id in unknown & refused.keys()}

    async def _load(self, account_ids: Sequence[int]) -> Mapping[int, RequestError]:
        refused: dict[int, RequestError] = {}
        try:
            for start in range(0, len(account_ids), CHUNK_ACCOUNTS):
                chunk = account_ids[start : start + CHUNK_ACCOUNTS]
                found = await self.read(chunk)
                refused.update((each, UnknownAccount(each)) for each in chunk if each not in found)
                refused.update(
                    self._take_in([each for each in found.values() if not self._intake.knows(each.account_id)])
                )
        finally:
            for account_id in account_ids:
                del self._loading[account_id]
        self._wanted.set()
        log.info("loaded %d accounts from the exchange's tables", len(account_ids) - len(refused))
        return refused

    async def read(self, account_ids: Collection[int]) -> Mapping[int, ExchangeAccount]:
        """
        Those of some accounts that exist, as the exchange's tables have them.

        Raises:
            StoreUnavailable: If the tables cannot be read.
        """
        try:
            async with asyncio.timeout(self._deadline_seconds), self._turn:
                found = await self._tables.read_accounts(account_ids)
        except TimeoutError:
            self.note_failure()
            raise StoreUnavailable(
                f"the exchange's tables did not answer within {self._deadline_seconds} s",
                deadline_seconds=self._deadline_seconds,
            ) from None
        except StoreUnavailable:
            self.note_failure()
            raise
        self._failure_count = 0
        return found

    def _take_in(self, accounts: Sequence[ExchangeAccount]) -> Mapping[int, OutOfBounds]:
        now_ms = self._clock.now_ms()
        if not accounts:
            return {}
        try:
            self._intake.open_accounts(accounts, now_ms)
        except OutOfBounds as error:
            if len(accounts) == 1:
                log.warning("account %d cannot be loaded: %s", accounts[0].account_id, error.message)
                return {accounts[0].account_id: error}
            # The numbers of one must not keep the others out.
            return {account_id: refusal for each in accounts for account_id, refusal in self._take_in([each]).items()}
        self.loaded_count += len(accounts)
        return {}
