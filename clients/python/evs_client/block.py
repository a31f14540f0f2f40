"""Events that belong together: gathered, accepted as one, sent in one request. Pure but for handing them over."""

from collections.abc import Awaitable, Callable
from decimal import Decimal
from types import TracebackType
from typing import Final, Self

from evs_client.encode import (
    WIRE_BYTES_PER_RECORD_BYTE,
    Side,
    cash_record,
    price_record,
    tick_record,
    trade_record,
)

REQUEST_BYTES_MAX: Final = 960 * 1024
"""What one request may take on the wire: EVS accepts 1 MiB, gRPC's framing and our source included."""

BLOCK_BYTES_MAX: Final = REQUEST_BYTES_MAX // WIRE_BYTES_PER_RECORD_BYTE
"""Bytes of records in one block: about 10,000 trades."""


class EventBlock:
    """
    Gathers events inside ``async with`` and hands them over, all or none, when it ends without an exception.

    Args:
        accept: Takes the records; waits for room.
    """

    def __init__(self, accept: Callable[[list[bytes]], Awaitable[None]]) -> None:
        self._accept = accept
        self._records: list[bytes] = []
        self._byte_count = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and self._records:
            await self._accept(self._records)

    def __len__(self) -> int:
        return len(self._records)

    def trade(
        self,
        account_id: int,
        symbol_id: int,
        side: Side,
        *,
        shares: int | Decimal | None = None,
        quantity_bp: int | None = None,
        price_cents: int,
        fee_cents: int = 0,
        settlement_id: int = 0,
    ) -> None:
        """Add one settled leg; arguments and errors as of ``trade_record``."""
        self._add(
            trade_record(
                account_id,
                symbol_id,
                side,
                shares=shares,
                quantity_bp=quantity_bp,
                price_cents=price_cents,
                fee_cents=fee_cents,
                settlement_id=settlement_id,
            )
        )

    def price(self, symbol_id: int, price_cents: int) -> None:
        """Add a new mark in cents per share."""
        self._add(price_record(symbol_id, price_cents))

    def tick(self, tick_id: int, tick_time_ms: int = 0) -> None:
        """Add the end of a tick; its time in unix milliseconds, 0 for EVS's clock."""
        self._add(tick_record(tick_id, tick_time_ms))

    def cash(self, account_id: int, amount_cents: int, reason: str = "") -> None:
        """Add a flow: positive cents are a deposit, negative ones a withdrawal."""
        self._add(cash_record(account_id, amount_cents, reason))

    def _add(self, record: bytes) -> None:
        if self._byte_count + len(record) > BLOCK_BYTES_MAX:
            raise ValueError(
                f"event {len(self._records) + 1} takes the block beyond {BLOCK_BYTES_MAX} bytes: "
                "it would not fit into one request; end the block and begin another"
            )
        self._byte_count += len(record)
        self._records.append(record)
