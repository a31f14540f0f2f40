"""
AccountService: settles trades in SQL into ``accounts``, ``positions`` and ``trades``, as the exchange does.

Lives here: transactions. Not here: what a trade does to a position (``ledger``), and telling anyone of it
(``execution_manager``). Touches Postgres. A settlement commits as a whole, both legs of every trade, or not at all.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from importlib import resources
from itertools import chain
from typing import Final, Self

from evs_server.errors import UnknownAccount
from evs_server.exchange.ledger import Holding, Settlement, Trade, book
from evs_server.store.database import Database
from evs_server.store.queries import split_queries

QUERIES: Final = split_queries(resources.files(__package__).joinpath("queries.sql").read_text(encoding="utf-8"))
"""The statements of this room."""


class AccountService:
    """
    The exchange's accounts. Made by ``connect``.

    Several settlements may run at once: accounts are locked in one order. Every method raises ``StoreUnavailable`` if
    Postgres is away; whether a commit whose answer was lost took place is then not known.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    @classmethod
    @asynccontextmanager
    async def connect(cls, dsn: str) -> AsyncIterator[Self]:
        """
        A service on one database, which has been migrated.

        Raises:
            StoreUnavailable: If the database cannot be reached.
        """
        database = await Database.open(dsn)
        try:
            yield cls(database)
        finally:
            await database.close()

    async def open_account(self, display_name: str, cash_cents: int) -> int:
        """The id of a new account that opens with so much cash."""
        return (await self.open_accounts({display_name: cash_cents}))[0]

    async def open_accounts(self, cash_cents: Mapping[str, int]) -> list[int]:
        """
        The ids of new accounts, in the order given.

        Args:
            cash_cents: By display name, what each opens with.
        """
        async with self._database.transaction("open accounts") as connection:
            records = await connection.fetch(
                QUERIES["open_accounts"], list(cash_cents.keys()), list(cash_cents.values())
            )
        return [record["id"] for record in records]

    async def find_accounts(self, display_names: Sequence[str]) -> dict[str, int]:
        """The ids of those of the accounts that exist, by name; of several with one name, the oldest."""
        async with self._database.transaction("find accounts") as connection:
            records = await connection.fetch(QUERIES["find_accounts"], list(display_names))
        return {record["display_name"]: record["id"] for record in records}

    async def last_prices(self, symbol_ids: Sequence[int]) -> dict[int, int]:
        """Cents per share of the newest trade of each symbol; those that have not traded lately are left out."""
        async with self._database.transaction("read last prices") as connection:
            records = await connection.fetch(QUERIES["last_prices"], list(symbol_ids))
        return {record["symbol_id"]: record["price"] for record in records}

    async def deposit(self, account_id: int, amount_cents: int) -> None:
        """
        Pay positive cents into an account.

        Raises:
            UnknownAccount: If there is none of this id.
        """
        assert amount_cents > 0
        await self._adjust(account_id, amount_cents)

    async def withdraw(self, account_id: int, amount_cents: int) -> None:
        """
        Pay positive cents out of an account, which may leave it in debt.

        Raises:
            UnknownAccount: If there is none of this id.
        """
        assert amount_cents > 0
        await self._adjust(account_id, -amount_cents)

    async def settle(self, trade: Trade) -> Settlement:
        """Settle both legs of one trade; see ``settle_many``."""
        return (await self.settle_many([trade]))[0]

    async def settle_many(self, trades: Sequence[Trade]) -> list[Settlement]:
        """
        Settle trades in order, all of them in one transaction.

        Returns:
            The ids of the ``trades`` rows of each trade, in the order given.

        Raises:
            UnknownAccount: If an account of a trade does not exist; nothing is settled.
        """
        if not trades:
            return []
        account_ids = sorted({trade.buyer_id for trade in trades} | {trade.seller_id for trade in trades})
        symbol_ids = sorted({trade.symbol_id for trade in trades})
        async with self._database.transaction("settle trades") as connection:
            locked = await connection.fetch(QUERIES["lock_accounts"], account_ids)
            if len(locked) < len(account_ids):
                raise UnknownAccount(min(set(account_ids) - {record["id"] for record in locked}))
            holdings = {
                (record["account_id"], record["symbol_id"]): Holding(record["quantity"], record["avg_cost"])
                for record in await connection.fetch(QUERIES["read_holdings"], account_ids, symbol_ids)
            }
            cash_cents = book(trades, holdings)
            leg_ids: list[int] = await connection.fetchval(QUERIES["reserve_trade_ids"], 2 * len(trades))
            await connection.execute(QUERIES["insert_trades"], *_leg_columns(trades, leg_ids))
            await connection.execute(QUERIES["change_balances"], list(cash_cents.keys()), list(cash_cents.values()))
            await connection.execute(QUERIES["write_holdings"], *_holding_columns(holdings))
        return [Settlement(buy, sell) for buy, sell in zip(leg_ids[::2], leg_ids[1::2], strict=True)]

    async def _adjust(self, account_id: int, amount_cents: int) -> None:
        async with self._database.transaction("adjust a balance") as connection:
            if await connection.fetchval(QUERIES["adjust_balance"], account_id, amount_cents) is None:
                raise UnknownAccount(account_id)


def _leg_columns(trades: Sequence[Trade], leg_ids: list[int]) -> tuple[list[int] | list[bool], ...]:
    """The columns of ``insert_trades``: two entries a trade, the buyer's first."""
    buyer, seller, symbol_id, quantity_bp, price_cents, time_ms = zip(*trades, strict=True)
    account_id = list(chain.from_iterable(zip(buyer, seller, strict=True)))
    shared = (_twice(column) for column in (quantity_bp, price_cents, time_ms))
    return leg_ids, account_id, _twice(symbol_id), [True, False] * len(trades), *shared


def _twice(column: Sequence[int]) -> list[int]:
    return [value for value in column for _ in range(2)]


def _holding_columns(holdings: Mapping[tuple[int, int], Holding]) -> tuple[list[int], ...]:
    """The columns of ``write_holdings``, in one order for everyone."""
    rows = [(*key, *holding) for key, holding in sorted(holdings.items())]
    return tuple(list(column) for column in zip(*rows, strict=True))
