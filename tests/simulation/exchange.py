"""
The exchange of the simulation: it writes its tables first, and announces afterwards, through one sender an account.

Written from the exchange's side: nothing here knows what EVS makes of it. All amounts are small: no bound is ever met.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random

from evs.v1 import evs_pb2 as pb

from evs_server.model import SettledTrade, Side
from evs_server.store.memory import ExchangeTrade, Tables
from tests.reference import Account, notional
from tests.wire import cash, prices, ticks, trades

SYMBOLS = (1, 2, 3)
PRICES = (99, 100, 101, 333, 5_001)
QUANTITIES_BP = (5_000, 10_000, 25_001, 40_000)
NOBODY = 999
"""An account that the exchange does not have."""
PLAIN = "plain"
"""How the names of senders without a numbering begin."""


@dataclass(frozen=True)
class Announcement:
    """One event as it is told, however often: its message, and what it means to the one it concerns."""

    run: pb.EventRun
    account_id: int = 0
    trade: SettledTrade | None = None
    fee_cents: int = 0
    amount_cents: int = 0
    mark: tuple[int, int] | None = None
    tick: tuple[int, int] | None = None


@dataclass
class Client:
    """
    One account of the exchange.

    Attributes:
        sender: Who announces what happens to it.
        side: The only side it trades on, if any: then the order of its trades does not matter.
        is_late: Whether it was created after the first start of EVS.
    """

    account_id: int
    sender: str
    side: Side | None
    is_late: bool
    books: Account = field(default_factory=Account)


class Exchange:
    """
    Accounts, a market, and tables.

    Args:
        tables: Where it writes.
        senders: Names of its senders; those in ``disorderly`` may lose and reorder what they tell.

    Attributes:
        outgoing: What has yet to be announced, by sender, in order.
        names_ids: Whether every trade is announced with its id.
    """

    def __init__(self, random: Random, tables: Tables, senders: list[str], disorderly: set[str]) -> None:
        self._random = random
        self._tables = tables
        self._senders = senders
        self._disorderly = disorderly
        self._shows_changes = random.random() < 0.5
        self.names_ids = False
        self._trade_count = 0
        self._tick = 0
        self.clients: dict[int, Client] = {}
        self.outgoing: dict[str, list[Announcement]] = {name: [] for name in senders}

    def found(self, count: int) -> None:
        """Accounts that are there before EVS first starts; some hold something."""
        for account_id in range(1, count + 1):
            client = self._open(account_id, self._random.choice(self._senders), is_late=False)
            client.books.cash = self._random.choice([0, 100_000, 1_000_001])
            if client.side is None and self._random.random() < 0.5:
                self._endow(client)
            books = client.books
            books.net_flow = books.cash + sum(basis for _, basis, _ in books.lots.values())
            self._tables.balances_cents[account_id] = books.cash

    def register(self) -> None:
        """A new account, without money."""
        orderly = [name for name in self._senders if name not in self._disorderly]
        account_id = len(self.clients) + 1
        self._open(account_id, self._random.choice(orderly), is_late=True)
        self._tables.balances_cents[account_id] = 0

    def settle(self, *, fees: bool) -> None:
        """A trade between two accounts: both legs are written, and are announced when their senders come to it."""
        buyers = [client for client in self.clients.values() if client.side is not Side.SELL]
        sellers = [client for client in self.clients.values() if client.side is not Side.BUY]
        symbol, price = self._random.choice(SYMBOLS), self._random.choice(PRICES)
        quantity_bp = self._random.choice(QUANTITIES_BP)
        for side, clients in ((Side.BUY, buyers), (Side.SELL, sellers)):
            fee = self._random.choice([0, 3, 50]) if fees else 0
            if clients:
                self._settle_leg(self._random.choice(clients), symbol, side, quantity_bp, price, fee)

    def pay(self, *, late: bool) -> None:
        """Money in or out."""
        # A flow has no id of its own: only a numbered sender may tell of it twice.
        numbered = [each for each in self.clients.values() if not each.sender.startswith(PLAIN)]
        clients = [each for each in numbered if late or not each.is_late]
        client, amount = self._random.choice(clients or [None]), self._random.choice([-150, 1_000, 1_000, 2_500])
        if client is None:
            return
        # Unless the row shows that it changed, nothing of an account that never traded tells of a flow on its way.
        if client.books.lots or not client.is_late or self._shows_changes:
            client.books.cash += amount
            client.books.net_flow += amount
            self._write_balance(client)
            event = Announcement(cash((client.account_id, amount)), client.account_id, amount_cents=amount)
            self.outgoing[client.sender].append(event)

    def quote(self, sender: str, symbol: int | None = None) -> None:
        """A new mark."""
        symbol, price = symbol or self._random.choice(SYMBOLS), self._random.choice(PRICES)
        self.outgoing[sender].append(Announcement(prices((symbol, price)), mark=(symbol, price)))

    def complete_tick(self, sender: str, time_ms: int = 0) -> None:
        """The end of a tick: its id may repeat, and may go backwards."""
        self._tick = max(0, self._tick + self._random.choice([1, 1, 1, 0, -2, 1_000]))
        self.outgoing[sender].append(Announcement(ticks(self._tick, tick_time=(time_ms,)), tick=(self._tick, time_ms)))

    def blunder(self, sender: str) -> None:
        """Something that EVS must refuse, and that counts in the numbering all the same."""
        account_id, quantity_bp = self._random.choice([(NOBODY, 10_000), (1, 0)])
        trade = SettledTrade(0, 1, Side.BUY, quantity_bp, 7)
        run = trades((account_id, 1, Side.BUY, quantity_bp, 7))
        self.outgoing[sender].append(Announcement(run, account_id, trade))

    def late_accounts(self) -> Iterator[Client]:
        """Accounts created after the first start of which anyone may ask."""
        late = (client for client in self.clients.values() if client.is_late)
        return (client for client in late if client.books.lots or self._shows_changes)

    def _open(self, account_id: int, sender: str, *, is_late: bool) -> Client:
        side = self._random.choice(list(Side)) if sender in self._disorderly else None
        client = self.clients[account_id] = Client(account_id, sender, side, is_late)
        return client

    def _write_balance(self, client: Client) -> None:
        self._tables.balances_cents[client.account_id] = client.books.cash
        if self._shows_changes:
            self._tables.changed.add(client.account_id)

    def _endow(self, client: Client) -> None:
        quantity_bp = self._random.choice([*QUANTITIES_BP, *(-quantity for quantity in QUANTITIES_BP)])
        average = self._random.choice(PRICES)
        self._tables.positions[client.account_id, SYMBOLS[0]] = (quantity_bp, average)
        client.books.lots[SYMBOLS[0]] = (quantity_bp, notional(quantity_bp, average), 0)

    def _settle_leg(self, client: Client, symbol: int, side: Side, quantity_bp: int, price: int, fee: int) -> None:
        self._trade_count += 1
        trade = SettledTrade(self._trade_count, symbol, side, quantity_bp, price)
        client.books.fill(symbol, side, quantity_bp, price, fee)
        self._write_balance(client)
        self._tables.trades.append(ExchangeTrade(client.account_id, trade))
        # Without sequences, the id is all that tells a retry; a numbered sender may leave it out.
        has_id = self.names_ids or client.sender.startswith(PLAIN) or self._random.random() < 0.7
        settlement_id = trade.trade_id if has_id else 0
        run = trades((client.account_id, symbol, side, quantity_bp, price, fee, settlement_id))
        self.outgoing[client.sender].append(Announcement(run, client.account_id, trade, fee))
