"""
What EVS and Postgres hold about accounts, as the facts that the audit compares.

Lives here: reads, over gRPC and in SQL. Not here: what they should say (``audit``). Touches the network, and changes
nothing: what ``tampered`` alters is taken back before anyone else can see it.
"""

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple

from evs.v1 import evs_pb2, evs_pb2_grpc

from evs_server.errors import ConfigError
from evs_server.exchange.account_service import QUERIES
from evs_server.exchange.audit import ACCOUNT, Fact, Facts, Fold
from evs_server.limits import BATCH_ACCOUNTS_MAX
from evs_server.model import Flag

if TYPE_CHECKING:
    import asyncpg

    from evs_server.store.database import Connection

CALL_SECONDS_MAX: Final = 30
READ_SECONDS_MAX: Final = 600
"""Every row of the accounts is looked at once, and there may be tens of millions."""

TRADES_FETCHED: Final = 5_000
"""Rows of ``trades`` held at a time."""

EXCHANGE_NAMES: Final = frozenset({"cash", "quantity"})
STATE_NAMES: Final = EXCHANGE_NAMES | {"net flow", "total realized", "basis", "realized"}
SERVED_NAMES: Final = STATE_NAMES | {"equity"}
SERIES_NAMES: Final = frozenset({"cash", "net flow", "total realized", "equity", "version"})


class Served(NamedTuple):
    """
    What EVS answers.

    Attributes:
        facts: Of accounts and positions.
        versions: The version of each account's newest valuation.
        set_price_cents: By symbol, prices that come from ``OnPriceUpdated``.
        violation_count: Accounts whose equity and profit do not agree, by EVS's flag or by its numbers.
    """

    facts: Facts
    versions: Facts
    set_price_cents: dict[int, int]
    violation_count: int


async def introduce(stub: "evs_pb2_grpc.EquityValuationServiceAsyncStub", account_ids: Sequence[int]) -> None:
    """
    Let EVS load accounts that the exchange has opened, before they trade.

    Raises:
        ConfigError: If EVS does not find them: it reads another database than the exchange writes.
    """
    known = {answer.equity.account_id for answer in await _equities(stub, account_ids)}
    if unknown := sorted(set(account_ids) - known):
        raise ConfigError(
            f"EVS does not know account {unknown[0]}, which has just been opened: does it use the same database?",
            account_id=unknown[0],
        )


async def served(stub: "evs_pb2_grpc.EquityValuationServiceAsyncStub", account_ids: Sequence[int]) -> Served:
    """What EVS answers about accounts, one by one."""
    told = Served({}, {}, {}, 0)
    violation_count = 0
    for answer in await _equities(stub, account_ids):
        equity = answer.equity
        profit_cents = equity.realized_pnl + equity.unrealized_pnl
        flagged = evs_pb2.EQUITY_FLAG_IDENTITY_VIOLATED in answer.flags
        violation_count += flagged or equity.total_equity - answer.net_flow != profit_cents
        told.facts.update(_account_facts(answer))
        told.versions[Fact(equity.account_id, ACCOUNT, "version")] = answer.version
        positions = await stub.ListPositions(
            evs_pb2.ListPositionsRequest(account_id=equity.account_id), timeout=CALL_SECONDS_MAX
        )
        for position in positions.positions:
            told.facts.update(_position_facts(equity.account_id, position))
            if position.mark_source == evs_pb2.MARK_SOURCE_MARK:
                told.set_price_cents[position.symbol_id] = position.mark_price
    return told._replace(violation_count=violation_count)


async def folded(connection: "Connection", opening_cents: dict[int, int]) -> Fold:
    """The fold of all trades of accounts, read a few thousand at a time."""
    fold = Fold(opening_cents)
    rows = connection.cursor(
        QUERIES["trades_of"], list(opening_cents), prefetch=TRADES_FETCHED, timeout=READ_SECONDS_MAX
    )
    async for row in rows:
        fold.take(*row)
    return fold


@asynccontextmanager
async def tampered(connection: "Connection", account_ids: Sequence[int]) -> AsyncIterator[None]:
    """Within the block, and for this connection alone, one position of EVS's state is off by one basis point."""
    savepoint = connection.transaction()
    await savepoint.start()
    try:
        await connection.execute(QUERIES["tamper"], account_ids)
        yield
    finally:
        await savepoint.rollback()


async def state_facts(connection: "Connection", account_ids: Sequence[int]) -> Facts:
    """What EVS's own tables hold."""
    return await _facts(connection, account_ids, "state_accounts", "state_positions")


async def exchange_facts(connection: "Connection", account_ids: Sequence[int]) -> Facts:
    """What the exchange's tables hold."""
    return await _facts(connection, account_ids, "exchange_balances", "exchange_holdings")


async def series_facts(connection: "Connection", account_ids: Sequence[int]) -> Facts:
    """What the newest row of each account in ``equity_timeseries`` says, its version included."""
    return await _facts(connection, account_ids, "series_newest")


async def series_totals(connection: "Connection", account_ids: Sequence[int]) -> tuple[int, int]:
    """How many rows accounts have in ``equity_timeseries``, and in how many equity and profit do not agree."""
    row = await connection.fetchrow(
        QUERIES["series_totals"], account_ids, int(Flag.IDENTITY_VIOLATED), timeout=READ_SECONDS_MAX
    )
    assert row is not None
    return row["row_count"], row["violation_count"]


def _account_facts(answer: evs_pb2.GetEquityResponse) -> Iterator[tuple[Fact, int]]:
    equity = answer.equity
    for name, value in (
        ("cash", equity.cash_balance),
        ("net flow", answer.net_flow),
        ("total realized", equity.realized_pnl),
        ("equity", equity.total_equity),
    ):
        yield Fact(equity.account_id, ACCOUNT, name), value


def _position_facts(account_id: int, position: evs_pb2.Position) -> Iterator[tuple[Fact, int]]:
    for name, value in (
        ("quantity", position.quantity_bp),
        ("basis", position.basis_cents),
        ("realized", position.realized_pnl),
    ):
        yield Fact(account_id, position.symbol_id, name), value


async def _equities(
    stub: "evs_pb2_grpc.EquityValuationServiceAsyncStub", account_ids: Sequence[int]
) -> list[evs_pb2.GetEquityResponse]:
    answers: list[evs_pb2.GetEquityResponse] = []
    for chunk in _chunks(account_ids, BATCH_ACCOUNTS_MAX):
        response = await stub.BatchGetEquity(evs_pb2.BatchGetEquityRequest(account_ids=chunk), timeout=CALL_SECONDS_MAX)
        answers.extend(response.equities)
    return answers


def _chunks(values: Iterable[int], size: int) -> Iterator[list[int]]:
    rest = iter(values)
    while chunk := list(islice(rest, size)):
        yield chunk


async def _facts(connection: "Connection", account_ids: Sequence[int], *queries: str) -> Facts:
    facts: Facts = {}
    for query in queries:
        for record in await connection.fetch(QUERIES[query], account_ids, timeout=READ_SECONDS_MAX):
            facts.update(_record_facts(record))
    return facts


def _record_facts(record: "asyncpg.Record") -> Iterator[tuple[Fact, int]]:
    about = record["account_id"], record.get("symbol_id", ACCOUNT)
    for name, value in record.items():
        if name not in {"account_id", "symbol_id"}:
            yield Fact(*about, name), value
