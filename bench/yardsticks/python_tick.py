"""
The original's algorithm in plain Python: each account that holds a changed symbol is recomputed, position by position.

As the design that EVS comes from has it, with two mends: the division that it forgot, and a list of each symbol's
holders, without which a price reached nobody.
"""

from dataclasses import dataclass

from bench.world import World
from evs_server.model import Int64Array


@dataclass(slots=True)
class Position:
    """What an account holds of one symbol."""

    symbol_id: int
    quantity_bp: int
    basis_cents: int


@dataclass(slots=True)
class Account:
    """An account as the original caches it."""

    account_id: int
    cash_cents: int
    base_cents: int
    positions: list[Position]


class Original:
    """All accounts in memory, as objects."""

    def __init__(self, world: World) -> None:
        self._price = dict(enumerate(world.price_cents.tolist()))
        self._holders: dict[int, list[Account]] = {symbol: [] for symbol in self._price}
        self._accounts = [Account(index + 1, cash, cash, []) for index, cash in enumerate(world.cash_cents.tolist())]
        columns = (world.position_account, world.position_symbol, world.quantity_bp, world.basis_cents)
        for index, symbol, quantity, basis in zip(*(column.tolist() for column in columns), strict=True):
            account = self._accounts[index]
            account.positions.append(Position(symbol, quantity, basis))
            account.base_cents += basis
            self._holders[symbol].append(account)

    def tick(self, symbol: Int64Array, price_cents: Int64Array) -> list[dict[str, float]]:
        """Snapshots of all accounts that hold one of some symbols, at their new prices."""
        self._price.update(zip(symbol.tolist(), price_cents.tolist(), strict=True))
        touched = {account.account_id: account for each in symbol.tolist() for account in self._holders[each]}
        return [self._recalculate(account) for account in touched.values()]

    def _recalculate(self, account: Account) -> dict[str, float]:
        position_value = unrealized = 0
        for position in account.positions:
            price = self._price.get(position.symbol_id)
            if price is not None:
                value = abs(position.quantity_bp) * price // 10_000
                value = value if position.quantity_bp >= 0 else -value
                position_value += value
                unrealized += value - position.basis_cents
        equity = account.cash_cents + position_value
        day_change = equity - account.base_cents
        return {
            "account_id": account.account_id,
            "total_equity": equity,
            "cash_balance": account.cash_cents,
            "position_value": position_value,
            "day_change": day_change,
            "day_change_percent_e4": round(day_change * 1_000_000 / (equity - day_change))
            if equity > day_change
            else 0,
            "unrealized_pnl": unrealized,
        }
