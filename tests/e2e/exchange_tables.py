"""
The exchange's own database, as AccountService has it in production: made before EVS starts, written by the exchange.

Written from the exchange's side: nothing here knows what EVS makes of these tables.
"""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import asyncpg

from tests.database import DatabaseServer, run_apart

SECONDS = 30

OWNER = "exchange"
"""The role that owns the database and all in it, and may do no more."""

TABLES = """
CREATE TABLE accounts (
    id BIGSERIAL PRIMARY KEY,
    google_id VARCHAR(255) UNIQUE NOT NULL,
    display_name VARCHAR(255),
    fantasy_points INTEGER DEFAULT 0,
    currency_balance BIGINT DEFAULT 0,
    created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
    last_updated TIMESTAMP DEFAULT CURRENT_TIMESTAMP
);
CREATE TABLE positions (
    id BIGSERIAL PRIMARY KEY,
    account_id BIGINT REFERENCES accounts(id),
    symbol_id BIGINT NOT NULL,
    quantity BIGINT NOT NULL,
    avg_cost BIGINT NOT NULL,
    last_updated TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
    UNIQUE(account_id, symbol_id)
);
CREATE TABLE trades (
    id BIGSERIAL PRIMARY KEY,
    account_id BIGINT REFERENCES accounts(id),
    symbol_id BIGINT NOT NULL,
    side VARCHAR(4) NOT NULL,
    quantity BIGINT NOT NULL,
    price BIGINT NOT NULL,
    timestamp TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
    order_id BIGINT NOT NULL
);
CREATE TABLE reservations (
    id BIGSERIAL PRIMARY KEY,
    account_id BIGINT REFERENCES accounts(id),
    amount BIGINT NOT NULL,
    order_id BIGINT NOT NULL,
    created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
    expires_at TIMESTAMP
);
CREATE INDEX idx_positions_account ON positions(account_id);
CREATE INDEX idx_trades_account ON trades(account_id);
CREATE INDEX idx_reservations_account ON reservations(account_id);
"""


class ExchangeTables:
    """
    What the exchange does with its database.

    Args:
        dsn: Its address.
    """

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        self._order = itertools.count(1)

    def run(self, script: str) -> None:
        """Execute statements."""

        async def execute() -> None:
            connection = await asyncpg.connect(self.dsn, timeout=SECONDS)
            await connection.execute(script, timeout=SECONDS)
            await connection.close(timeout=SECONDS)

        run_apart(execute())

    def rows(self, query: str, *arguments: object) -> list[asyncpg.Record]:
        """What a query returns."""

        async def fetch() -> list[asyncpg.Record]:
            connection = await asyncpg.connect(self.dsn, timeout=SECONDS)
            found = await connection.fetch(query, *arguments, timeout=SECONDS)
            await connection.close(timeout=SECONDS)
            return found

        return run_apart(fetch())

    def value(self, query: str, *arguments: object) -> object:
        """The first field of the first row of what a query returns."""
        return self.rows(query, *arguments)[0][0]

    def open_account(self, balance_cents: int = 0) -> int:
        """A new user; the account's id."""
        found = self.value(
            "INSERT INTO accounts (google_id, display_name, currency_balance)"
            " SELECT 'g-' || nextval('accounts_id_seq'), 'somebody', $1 RETURNING id",
            balance_cents,
        )
        assert isinstance(found, int)
        return found

    def deposit(self, account_id: int, amount_cents: int) -> None:
        """Money in, before anyone is told."""
        self.rows(
            "UPDATE accounts SET currency_balance = currency_balance + $2, last_updated = now() WHERE id = $1",
            *(account_id, amount_cents),
        )

    def settle(self, account_id: int, symbol_id: int, side: str, quantity_bp: int, price_cents: int) -> int:
        """One leg, in the exchange's statements, before anyone is told; the id of its ``trades`` row."""
        signed = quantity_bp if side == "BUY" else -quantity_bp
        cash = -(signed * price_cents // 10_000)  # whole cents only, so that no rounding is this file's business
        assert signed * price_cents % 10_000 == 0, "settle whole cents"
        found = self.value(
            """
            WITH balance AS (
                UPDATE accounts SET currency_balance = currency_balance + $6, last_updated = now() WHERE id = $1
            ), position AS (
                INSERT INTO positions (account_id, symbol_id, quantity, avg_cost) VALUES ($1, $2, $7, $5)
                ON CONFLICT (account_id, symbol_id) DO UPDATE SET quantity = positions.quantity + excluded.quantity
            )
            INSERT INTO trades (account_id, symbol_id, side, quantity, price, order_id)
            VALUES ($1, $2, $3, $4, $5, $8) RETURNING id
            """,
            *(account_id, symbol_id, side, quantity_bp, price_cents, cash, signed, next(self._order)),
        )
        assert isinstance(found, int)
        return found

    def equity_rows(self, account_id: int) -> list[asyncpg.Record]:
        """What EVS has stored of an account, oldest first."""
        return self.rows(
            "SELECT *, extract(epoch FROM timestamp)::float8 AS unix_seconds FROM equity_timeseries"
            " WHERE account_id = $1 ORDER BY version",
            account_id,
        )


@contextmanager
def exchange_database(server: DatabaseServer) -> Iterator[ExchangeTables]:
    """A database of a server that holds nothing but the exchange's tables, as long as the block lasts."""
    name = server.create(migrated=False)
    try:
        yield exchange_tables(server.dsn(name))
    finally:
        server.drop(name)


def exchange_tables(dsn: str) -> ExchangeTables:
    """A database made the exchange's; ``dsn`` is an administrator's."""
    ensure_role(dsn, OWNER)
    database = urlsplit(dsn).path.removeprefix("/")
    ExchangeTables(dsn).run(f"ALTER DATABASE {database} OWNER TO {OWNER}; ALTER SCHEMA public OWNER TO {OWNER}")
    tables = ExchangeTables(dsn_as(OWNER, dsn))
    tables.run(TABLES)
    return tables


def ensure_role(dsn: str, name: str) -> None:
    """A role that may log in, and nothing else; servers are shared, so it may be there already."""
    tables = ExchangeTables(dsn)
    if not tables.rows("SELECT FROM pg_roles WHERE rolname = $1", name):
        tables.run(f"CREATE ROLE {name} LOGIN")


def dsn_as(role: str, dsn: str) -> str:
    """The same database, seen by another role."""
    parts = urlsplit(dsn)
    return parts._replace(netloc=f"{role}@{parts.netloc.rpartition('@')[2]}").geturl()
