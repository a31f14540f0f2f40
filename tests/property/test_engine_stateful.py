"""
The engine as hypothesis plays with it: any event at any moment, flushes in between, and crashes.

After every step engine and reference agree in all that can be seen (``Twin.check``). A crash loses what no flush held:
a new engine starts from what was flushed, is sent the rest again, and must stand where the one before stood.
"""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from evs_server.model import Side
from tests.property.events import (
    AMOUNTS,
    FEES,
    PLACES,
    PRICES,
    QUANTITIES,
    ROLL_MINUTES,
    SIDES,
    SYMBOLS,
    Cash,
    Event,
    Observe,
    Open,
    Price,
    Roll,
    Trade,
    openings,
    ticks,
    waits,
)
from tests.property.twin import Kept, Twin, sight, tell


class Exchange(RuleBasedStateMachine):
    """One engine, its reference, and a store that is only as new as the last flush."""

    @initialize(roll_minute=ROLL_MINUTES)
    def begin(self, roll_minute: int) -> None:
        self.twin = Twin(roll_minute)
        self.kept = Kept()
        self.told_count = self.made_count = 0
        self.shares: dict[int, int] = {}
        self.flush()

    def apply(self, event: Event) -> None:
        self.twin.apply(event)

    @rule(one=PLACES, other=PLACES, symbol=SYMBOLS, quantity=QUANTITIES, price=PRICES, fee=FEES)
    def settle(self, one: int, other: int, symbol: int, quantity: int, price: int, fee: int) -> None:
        """Both legs of a trade, between two accounts or within one; cash moves, only fees are lost."""
        before = self.total_cash()
        self.apply(Trade(one, symbol, Side.BUY, quantity, price, fee))
        self.apply(Trade(other, symbol, Side.SELL, quantity, price))
        assert before - fee == self.total_cash()

    @rule(place=PLACES, symbol=SYMBOLS, side=SIDES, quantity=QUANTITIES, price=PRICES)
    def settle_one_leg(self, place: int, symbol: int, side: Side, quantity: int, price: int) -> None:
        self.apply(Trade(place, symbol, side, quantity, price))
        signed = quantity if side is Side.BUY else -quantity
        self.shares[symbol] = self.shares.get(symbol, 0) + signed

    @rule(symbol=SYMBOLS, price=PRICES)
    def mark(self, symbol: int, price: int) -> None:
        self.apply(Price(symbol, price))

    @rule(place=PLACES, amount=AMOUNTS)
    def pay(self, place: int, amount: int) -> None:
        self.apply(Cash(place, amount))

    @rule(place=PLACES, symbol=SYMBOLS, price=PRICES)
    def observe(self, place: int, symbol: int, price: int) -> None:
        self.apply(Observe(place, symbol, price))

    @rule(event=st.one_of(ticks(), ticks(), waits(), st.just(Roll())))
    def pass_time(self, event: Event) -> None:
        self.apply(event)

    @precondition(lambda self: len(self.twin.reference.accounts) < 12)
    @rule(event=openings())
    def open(self, event: Open) -> None:
        self.apply(event)
        for _, fills in event.accounts:
            for symbol, side, quantity, _ in fills:
                signed = quantity if side is Side.BUY else -quantity
                self.shares[symbol] = self.shares.get(symbol, 0) + signed

    @rule()
    def flush(self) -> None:
        """What changed goes to the store."""
        self.kept.flush(self.twin.engine.capture(), self.twin.passes[self.made_count :])
        self.told_count, self.made_count = len(self.twin.told), len(self.twin.passes)

    @rule()
    def crash(self) -> None:
        """All that no flush held is lost, sent again, and there again."""
        before = sight(self.twin.engine)
        self.twin.engine = self.kept.revive(self.twin.new_engine())
        for told in self.twin.told[self.told_count :]:
            tell(self.twin.engine, told)
        assert before == sight(self.twin.engine)

    @invariant()
    def quantities_are_conserved(self) -> None:
        """In each symbol all accounts together hold what one-legged trades have brought in."""
        held: dict[int, int] = {}
        positions = self.twin.engine.export_state().positions
        for symbol, quantity in zip(positions.symbol_id.tolist(), positions.quantity_bp.tolist(), strict=True):
            held[symbol] = held.get(symbol, 0) + quantity
        assert {symbol: total for symbol, total in held.items() if total} == {
            symbol: total for symbol, total in self.shares.items() if total
        }

    def total_cash(self) -> int:
        return sum(self.twin.engine.export_state().accounts.cash_cents.tolist())


TestExchange = Exchange.TestCase
