"""Settlement in SQL: both legs or none, the exchange's own averages, and nothing lost between settlements at once."""

import asyncio
from collections.abc import AsyncIterator
from random import Random

import asyncpg
import pytest

from evs_server.errors import UnknownAccount
from evs_server.exchange.account_service import AccountService
from evs_server.exchange.ledger import Trade
from tests.patience import PATIENCE_SECONDS

SHARE = 10_000
TIME_MS = 1_381_152_600_123


@pytest.fixture
async def exchange(database: str) -> AsyncIterator[AccountService]:
    """An exchange without accounts."""
    async with AccountService.connect(database) as service:
        yield service


@pytest.fixture
async def tables(database: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """A connection that looks at the exchange's tables."""
    connection = await asyncpg.connect(database, timeout=PATIENCE_SECONDS)
    yield connection
    await connection.close()


def between(account_ids: list[int], trade: Trade) -> Trade:
    """A trade of numbered accounts, with their ids in place of their numbers."""
    return trade._replace(buyer_id=account_ids[trade.buyer_id], seller_id=account_ids[trade.seller_id])


async def balances(tables: "asyncpg.Connection[asyncpg.Record]") -> dict[int, int]:
    rows = await tables.fetch("SELECT id, currency_balance FROM accounts")
    return {row["id"]: row["currency_balance"] for row in rows}


async def holdings(tables: "asyncpg.Connection[asyncpg.Record]") -> dict[tuple[int, int], tuple[int, int]]:
    rows = await tables.fetch("SELECT account_id, symbol_id, quantity, avg_cost FROM positions")
    return {(account, symbol): (quantity, cost) for account, symbol, quantity, cost in rows}


async def test_both_legs_of_a_trade_are_settled_together(
    exchange: AccountService, tables: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    """Cash and shares change hands, and two rows of trades say so, with the ids that are returned."""
    buyer, seller = await exchange.open_accounts({"buyer": 100_000, "seller": 50_000})
    settled = await exchange.settle(Trade(buyer, seller, 7, 3 * SHARE, 1_500, TIME_MS))
    assert {buyer: 95_500, seller: 54_500} == await balances(tables)
    assert {(buyer, 7): (30_000, 1_500), (seller, 7): (-30_000, 1_500)} == await holdings(tables)
    rows = await tables.fetch(
        "SELECT id, account_id, symbol_id, side, quantity, price, timestamp::text FROM trades ORDER BY id"
    )
    assert [
        (settled.buy_id, buyer, 7, "BUY", 30_000, 1_500, "2013-10-07 13:30:00.123"),
        (settled.sell_id, seller, 7, "SELL", 30_000, 1_500, "2013-10-07 13:30:00.123"),
    ] == [tuple(row) for row in rows]


async def test_the_average_cost_is_the_exchanges_own(
    exchange: AccountService, tables: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    """Whole cents, cut; a close keeps it, a flip opens at the fill's price, a flat position has none."""
    trader, other = await exchange.open_accounts({"trader": 0, "other": 0})

    async def average(*trades: tuple[str, int, int]) -> tuple[int, int]:
        await exchange.settle_many(
            [
                Trade(*((trader, other) if side == "buy" else (other, trader)), 1, shares * SHARE, price, TIME_MS)
                for side, shares, price in trades
            ]
        )
        return (await holdings(tables))[trader, 1]

    assert (15 * SHARE, 300) == await average(("buy", 10, 300), ("buy", 5, 301))
    assert (10 * SHARE, 300) == await average(("sell", 5, 999))
    assert (-5 * SHARE, 310) == await average(("sell", 15, 310))
    assert (-6 * SHARE, 308) == await average(("sell", 1, 300))
    assert (0, 0) == await average(("buy", 6, 100))


async def test_one_batch_does_what_its_trades_do_one_by_one(
    exchange: AccountService, tables: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    """Many trades of few accounts, flips and self-trades among them, come to the same in one transaction or in many."""
    together = await exchange.open_accounts({f"together {number}": 1_000 for number in range(4)})
    apart = await exchange.open_accounts({f"apart {number}": 1_000 for number in range(4)})
    draw = Random(5)
    drawn = [
        Trade(
            draw.randrange(4), draw.randrange(4), draw.randint(1, 2), draw.randint(1, 40_000), draw.randint(1, 999), 0
        )
        for _ in range(60)
    ]
    ids = await exchange.settle_many([between(together, trade) for trade in drawn])
    for trade in drawn:
        await exchange.settle(between(apart, trade))
    cash, held = await balances(tables), await holdings(tables)
    assert [cash[account] for account in apart] == [cash[account] for account in together]
    assert 4_000 == sum(cash[account] for account in together)
    pairs = [(number, symbol) for number in range(4) for symbol in (1, 2)]
    assert [held[apart[number], symbol] for number, symbol in pairs] == [held[together[n], s] for n, s in pairs]
    assert 120 == len({leg_id for pair in ids for leg_id in pair})


async def test_nothing_of_a_batch_is_settled_if_an_account_is_missing(
    exchange: AccountService, tables: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    """An account that does not exist is named, and the trades before its own are not settled either."""
    one, two = await exchange.open_accounts({"one": 100, "two": 100})
    with pytest.raises(UnknownAccount, match="account 999 "):
        await exchange.settle_many([Trade(one, two, 1, SHARE, 10, TIME_MS), Trade(one, 999, 1, SHARE, 10, TIME_MS)])
    assert {one: 100, two: 100} == await balances(tables)
    assert 0 == await tables.fetchval("SELECT count(*) FROM trades")


async def test_settlements_at_once_lose_nothing(
    exchange: AccountService, tables: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    """Callers that settle trades of the same accounts wait for each other, whichever way round they trade."""
    one, two = await exchange.open_accounts({"one": 0, "two": 0})
    trades = [Trade(*((one, two) if number % 3 else (two, one)), 1, SHARE, 100, TIME_MS) for number in range(24)]
    async with asyncio.timeout(PATIENCE_SECONDS):
        await asyncio.gather(*(exchange.settle(trade) for trade in trades))
    assert {one: -800, two: 800} == await balances(tables)
    assert {(one, 1): 8 * SHARE, (two, 1): -8 * SHARE} == {key: bp for key, (bp, _) in (await holdings(tables)).items()}


async def test_cash_is_paid_in_and_out(exchange: AccountService, tables: "asyncpg.Connection[asyncpg.Record]") -> None:
    """Deposits and withdrawals change the balance; an account that does not exist is named."""
    account = await exchange.open_account("saver", 1_000)
    await exchange.deposit(account, 500)
    await exchange.withdraw(account, 2_000)
    assert {account: -500} == await balances(tables)
    with pytest.raises(UnknownAccount, match=f"account {account + 1} "):
        await exchange.deposit(account + 1, 1)


async def test_accounts_and_prices_are_found_again(exchange: AccountService) -> None:
    """By name, the oldest of a name; and by symbol, the newest trade's price."""
    first, other = await exchange.open_accounts({"ada": 0, "ben": 0})
    await exchange.open_account("ada", 0)
    assert {"ada": first, "ben": other} == await exchange.find_accounts(["ada", "ben", "cleo"])
    await exchange.settle_many([Trade(first, other, 1, SHARE, price, TIME_MS) for price in (10, 12, 11)])
    assert {1: 11} == await exchange.last_prices([1, 2])


async def test_no_trades_are_settled_at_once(exchange: AccountService) -> None:
    """Nothing to settle is no reason to ask the database."""
    assert [] == await exchange.settle_many([])
