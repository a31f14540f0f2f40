"""
The audit of a replay: every account, at every place that holds its numbers, against the fold of its trades.

Lives here: which places are asked, and the verdict. Not here: reading (``evidence``), the fold and the comparison
(``audit``). Touches the network, and must run when no event is under way: it compares places one after the other.
"""

from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from evs.v1 import evs_pb2_grpc

from evs_server.exchange import evidence
from evs_server.exchange.audit import Facts, Mismatch, conservation_breaches, mismatches
from evs_server.store.database import Database

if TYPE_CHECKING:
    from evs_server.store.database import Connection


@dataclass(frozen=True, slots=True)
class Verdict:
    """
    What an audit found.

    Attributes:
        mismatches: Facts that some place tells otherwise than the fold.
        breaches: Where cash or shares were not conserved, in words.
        violation_count: Valuations, served and stored, in which equity and profit do not agree.
        row_count: Rows of the accounts in ``equity_timeseries``.
        leg_count: Rows of the accounts in ``trades``.
    """

    mismatches: Sequence[Mismatch]
    breaches: Sequence[str]
    violation_count: int
    row_count: int
    leg_count: int


async def audit(
    stub: "evs_pb2_grpc.EquityValuationServiceAsyncStub",
    database: Database,
    opening_cents: dict[int, int],
    *,
    tamper: bool = False,
) -> Verdict:
    """
    The verdict on accounts that opened with nothing but cash and have since traded with each other alone, without fees.

    Args:
        stub: EVS.
        database: The one that EVS uses and the exchange writes.
        opening_cents: By account, the cash it opened with.
        tamper: Alter one position in what is read, to see whether that is found; nobody else sees it.
    """
    account_ids = list(opening_cents)
    told = await evidence.served(stub, account_ids)
    async with AsyncExitStack() as stack:
        connection = await stack.enter_async_context(
            database.transaction("audit a replay", seconds=evidence.READ_SECONDS_MAX)
        )
        fold = await evidence.folded(connection, opening_cents)
        if tamper:
            await stack.enter_async_context(evidence.tampered(connection, account_ids))
        expected = fold.facts(told.set_price_cents)
        row_count, stored_violation_count = await evidence.series_totals(connection, account_ids)
        return Verdict(
            [
                *mismatches("EVS", evidence.SERVED_NAMES, expected, told.facts),
                *await _stored_mismatches(connection, account_ids, expected, told.versions),
            ],
            [
                *conservation_breaches("trades", opening_cents, expected),
                *conservation_breaches("EVS", opening_cents, told.facts),
            ],
            told.violation_count + stored_violation_count,
            row_count,
            fold.leg_count,
        )


async def _stored_mismatches(
    connection: "Connection", account_ids: Sequence[int], expected: Facts, versions: Facts
) -> list[Mismatch]:
    """Where Postgres differs from the fold; its newest rows must also be of the versions that EVS serves."""
    state = await evidence.state_facts(connection, account_ids)
    exchange = await evidence.exchange_facts(connection, account_ids)
    series = await evidence.series_facts(connection, account_ids)
    return [
        *mismatches("EVS's tables", evidence.STATE_NAMES, expected, state),
        *mismatches("the exchange's tables", evidence.EXCHANGE_NAMES, expected, exchange),
        *mismatches("equity_timeseries", evidence.SERIES_NAMES, expected | versions, series),
    ]
