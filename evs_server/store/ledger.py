"""
The exchange's tables as reconciliation reads them: cash and quantities of some accounts, and their trades if asked for.

Lives here: one transaction that sees one moment. Not here: SQL (``ledger.sql``), and what differs from it
(``reconcile``). Touches the network through ``Database``.
"""

from collections.abc import Collection, Mapping
from importlib import resources
from typing import Final

from evs_server.model import Ledger
from evs_server.store.database import Database
from evs_server.store.postgres import settled_trades
from evs_server.store.queries import QUERIES, split_queries

_QUERIES: Final = split_queries(resources.files(__package__).joinpath("ledger.sql").read_text(encoding="utf-8"))


class LedgerReader:
    """A ``ports.ExchangeLedger`` in PostgreSQL; whoever opened the database closes it."""

    def __init__(self, database: Database) -> None:
        self._database: Final = database

    async def read_ledgers(self, account_ids: Collection[int], *, with_trades: bool = False) -> Mapping[int, Ledger]:
        """
        Those of the accounts that exist, as of one moment.

        Raises:
            StoreUnavailable: If the database is away.
        """
        ids = list(account_ids)
        async with self._database.transaction("read the exchange's ledgers", snapshot=True) as connection:
            accounts = await connection.fetch(_QUERIES["ledger_accounts"], ids)
            positions = await connection.fetch(_QUERIES["ledger_positions"], ids)
            trades = await connection.fetch(QUERIES["exchange_trades"], ids) if with_trades else []
        quantities: dict[int, dict[int, int]] = {account["id"]: {} for account in accounts}
        for row in positions:
            quantities.setdefault(row["account_id"], {})[row["symbol_id"]] = row["quantity_bp"]
        settled = settled_trades(trades)
        return {
            account["id"]: Ledger(
                account["id"], account["cash_cents"], quantities[account["id"]], tuple(settled.get(account["id"], ()))
            )
            for account in accounts
        }
