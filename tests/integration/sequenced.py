"""A sequenced sender whose outcome is known beforehand, and whether each of its events has counted once."""

import itertools

from evs.v1 import evs_pb2 as pb

from tests.e2e.caller import BUY, SELL, SHARE, Caller
from tests.e2e.exchange_tables import ExchangeTables

OPENING_CENTS = 1_000_000
SOURCE = "em"
EVENTS_PER_BLOCK = 3


def open_accounts(tables: ExchangeTables) -> None:
    """Accounts 7 and 8, with their opening cash."""
    tables.run(f"INSERT INTO accounts (id, currency_balance) VALUES (7, {OPENING_CENTS}), (8, {OPENING_CENTS})")


class Market:
    """A sequenced sender: in each block account 7 buys a share of 8 for a dollar, and a tick ends it."""

    def send(self, caller: Caller, blocks: range) -> None:
        """Send blocks, each event on its own."""
        for number in blocks:
            sequence = itertools.count(EVENTS_PER_BLOCK * number + 1)
            caller.trade(7, 1, BUY, SHARE, 100, event_id=self._id(next(sequence)))
            caller.trade(8, 1, SELL, SHARE, 100, event_id=self._id(next(sequence)))
            caller.tick(number + 1, event_id=self._id(next(sequence)))

    def resume(self, caller: Caller, end: int) -> None:
        """Ask a new EVS how far it is, and send what it lacks."""
        durable = caller.ingest_state(SOURCE).durable_sequence
        self.send(caller, range(durable // EVENTS_PER_BLOCK, end))

    def _id(self, sequence: int) -> pb.EventId:
        return pb.EventId(source=SOURCE, epoch=1, sequence=sequence)


def assert_counted_once(tables: ExchangeTables, caller: Caller, blocks: int) -> None:
    """After so many blocks: cash, positions and rows are the fold, in memory and in the database."""
    caller.ingest_state(SOURCE, wait_durable=EVENTS_PER_BLOCK * blocks)
    for account_id, sign in ((7, -1), (8, 1)):
        assert OPENING_CENTS + sign * 100 * blocks == caller.numbers(account_id).cash
        assert -sign * SHARE * blocks == caller.positions(account_id)[1].quantity_bp
    assert EVENTS_PER_BLOCK * blocks == tables.value(
        "SELECT applied_sequence FROM evs.source WHERE source = $1", SOURCE
    )
    doubled = "SELECT count(*) FROM (SELECT FROM equity_timeseries GROUP BY account_id, version HAVING count(*) > 1) d"
    assert 0 == tables.value(doubled)
    assert caller.equity(7).version == tables.value("SELECT max(version) FROM equity_timeseries WHERE account_id = 7")
