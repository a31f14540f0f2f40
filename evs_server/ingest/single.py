"""
One event on its own: the way of nearly every unary call. Pure.

Between two calls a processor has done other things, and every step of the next one costs four times what it would cost
in a loop. So an event that is plain goes from its numbers into the engine, without columns or a batch around it; of a
sender that numbers its events, the sequencer takes note. Whatever is not is left to ``Intake.take``: a repeat, a number
out of turn, an account that is not known or heeded, a number that is out of bounds. Invariant: what is taken here does
what a batch of it would have done, and what is not has changed nothing.
"""

from typing import TYPE_CHECKING

from evs_server.engine import Engine
from evs_server.ingest import columns
from evs_server.ingest.clearing import Clearing
from evs_server.ingest.sequencer import EventId, Sequencing
from evs_server.limits import EXACT_MAX, FEE_CENTS_MAX, PRICE_CENTS_MAX, QUANTITY_BP_MAX, TICK_TIME_MS_MAX
from evs_server.model import Side

if TYPE_CHECKING:
    from evs_server.ingest.intake import Intake

_SIDES = (int(Side.BUY), int(Side.SELL))


class Singles:
    """
    What an intake does with events that come one by one.

    Args:
        intake: Keeps what flushes are made of.
    """

    def __init__(self, engine: Engine, sequencer: Sequencing, clearing: Clearing, intake: "Intake") -> None:
        self._engine = engine
        self._sequencer = sequencer
        self._clearing = clearing
        self._intake = intake

    def take_trade(self, leg: tuple[int, ...], now_ms: int, event_id: EventId | None = None) -> bool:
        """
        Whether a settled leg was plain, and is applied.

        Args:
            leg: The columns of a ``TradeRun``, as they were sent.
            now_ms: EVS's clock.
            event_id: How its sender has numbered it, as it was sent; absent: not at all.
        """
        account_id, _, side, quantity_bp, price_cents, fee_cents, settlement_id = leg
        is_fine = (
            0 < account_id <= EXACT_MAX
            and side in _SIDES
            and 0 < quantity_bp <= QUANTITY_BP_MAX
            and 0 < price_cents <= PRICE_CENTS_MAX
            and 0 <= fee_cents <= FEE_CENTS_MAX
            and 0 <= settlement_id <= EXACT_MAX
        )
        if not is_fine or self._is_out_of_turn(event_id):
            return False
        # Of a sender that numbers its events, the number alone says what is a repeat.
        is_watched = settlement_id and event_id is None
        if is_watched and self._clearing.retries.is_repeat(account_id, side, settlement_id):
            return False
        self._intake.flush_tick()
        if not self._engine.apply_plain_trade(leg[:-1], now_ms):
            return False
        if is_watched:
            self._clearing.retries.remember(account_id, side, settlement_id)
        self._note(event_id, columns.TRADE, leg)
        return True

    def take_price(self, symbol_id: int, price_cents: int, now_ms: int, event_id: EventId | None = None) -> bool:
        """Whether a mark was plain, and is set; as ``take_trade``."""
        if not 0 < price_cents <= PRICE_CENTS_MAX or self._is_out_of_turn(event_id):
            return False
        self._intake.flush_tick()
        if not self._engine.apply_plain_price(symbol_id, price_cents, now_ms):
            return False
        self._note(event_id, columns.PRICE, (symbol_id, price_cents))
        return True

    def take_tick(self, tick: int, tick_time_ms: int, now_ms: int, event_id: EventId | None = None) -> int | None:
        """How many accounts a tick completion has valued; None if it must not be completed; as ``take_trade``."""
        if tick > EXACT_MAX or not 0 <= tick_time_ms <= TICK_TIME_MS_MAX or self._is_out_of_turn(event_id):
            return None
        self._intake.flush_tick()
        valued_count = self._intake.complete_tick(tick, tick_time_ms, now_ms)
        # Before its flush is captured, which is to hold this tick's event.
        self._note(event_id, columns.TICK, (tick, tick_time_ms))
        self._intake.on_tick()
        return valued_count

    def _is_out_of_turn(self, event_id: EventId | None) -> bool:
        return event_id is not None and not self._sequencer.is_next(event_id)

    def _note(self, event_id: EventId | None, kind: int, row: tuple[int, ...]) -> None:
        if event_id is not None:
            self._sequencer.advance_one(event_id, columns.digest_of(kind, row))
        self._intake.note_single()
