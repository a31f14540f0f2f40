"""
What the exchange calls its accounts, remembered for a while. Touches the network through ``ports.DisplayNames``.

A name adorns an entry and must never hold one up: while the database is away, those that were read last are served, and
others are empty.
"""

import asyncio
import logging
from collections.abc import Collection, Mapping
from typing import Final

from evs_server.clock import Clock
from evs_server.errors import StoreUnavailable
from evs_server.ports import DisplayNames

logger = logging.getLogger(__name__)

REMEMBERED_SECONDS: Final = 60.0
"""How long names are served before they are read anew."""
NAMES_MAX: Final = 20_000
"""Names remembered; one more, and all are read anew. Twice as many are held."""
READ_SECONDS: Final = 1.0
"""How long an answer waits for names."""
REST_SECONDS: Final = 5.0
"""How long a database is left alone that did not give them."""


class Names:
    """
    Display names by account.

    Args:
        source: Reads them.
        clock: For ages.
    """

    def __init__(self, source: DisplayNames, clock: Clock) -> None:
        self._source = source
        self._clock = clock
        self._known: dict[int, str] = {}
        self._before: dict[int, str] = {}
        self._forget_at = float("-inf")
        self._rests_until = float("-inf")

    async def of(self, account_ids: Collection[int]) -> Mapping[int, str]:
        """Names of some accounts; empty where there is none, or none to be had."""
        now = self._clock.monotonic()
        if now >= self._forget_at or len(self._known) > NAMES_MAX:
            # What could not be read anew since the last time is still the best there is.
            self._before, self._known = self._known or self._before, {}
            self._forget_at = now + REMEMBERED_SECONDS
        unknown = [account_id for account_id in account_ids if account_id not in self._known]
        if unknown and now >= self._rests_until:
            try:
                async with asyncio.timeout(READ_SECONDS):
                    found = await self._source.read_names(unknown)
                self._known |= {account_id: found.get(account_id, "") for account_id in unknown}
            except (StoreUnavailable, TimeoutError) as error:
                self._rests_until = now + REST_SECONDS
                logger.warning("answering without names of accounts: %s", str(error) or "no answer in time")
        return {each: self._known.get(each, self._before.get(each, "")) for each in account_ids}
