"""
The least a tick can cost: one compiled loop over plain arrays, with nothing of a service around it.

Positions lie by symbol, as EVS keeps them, so that both walk the same memory: account, quantity, value. An account is
one row of eight numbers. For each changed symbol its positions are valued, each cut toward zero to a cent, and their
accounts' sums follow; then every account that holds one is told: its equity and the numbers of its row.

Left out is what a service needs besides: which marks are old or missing, what has traded, whether the books still add
up, what to store, and the newest snapshot of each account for whoever asks next.
"""

from dataclasses import dataclass

import numpy as np
from numba import njit

from bench.world import World
from evs_server.model import BoolArray, Int32Array, Int64Array

CASH, VALUE, UNREALIZED, REALIZED, NET_FLOW, BASE, BASE_FLOW, ACCOUNT_ID = range(8)
OUT = 9
"""Account id, equity, cash, value, day change, its percentage, unrealized, realized, net flow."""


@dataclass
class Arrays:
    """The world, by symbol."""

    account: Int64Array
    first: Int64Array
    owner: Int32Array
    quantity_bp: Int64Array
    value_cents: Int64Array
    price_cents: Int64Array
    due: BoolArray

    @classmethod
    def of(cls, world: World) -> "Arrays":
        """The arrays of a world that has been valued once."""
        order = np.argsort(world.position_symbol, kind="stable")
        owner, symbol = world.position_account[order], world.position_symbol[order]
        quantity, basis = world.quantity_bp[order], world.basis_cents[order]
        magnitude = np.abs(quantity) * world.price_cents[symbol] // 10_000
        value = np.sign(quantity) * magnitude
        account = np.zeros((world.size.accounts, 8), np.int64)
        np.add.at(account[:, VALUE], owner, value)
        np.add.at(account[:, UNREALIZED], owner, value - basis)
        np.add.at(account[:, NET_FLOW], owner, basis)
        account[:, CASH] = world.cash_cents
        account[:, NET_FLOW] += world.cash_cents
        account[:, BASE] = account[:, BASE_FLOW] = account[:, NET_FLOW]
        account[:, ACCOUNT_ID] = np.arange(1, world.size.accounts + 1)
        first = np.searchsorted(symbol, np.arange(world.size.symbols + 1))
        due = np.zeros(world.size.accounts, np.bool_)
        return cls(account, first, owner.astype(np.int32), quantity, value, world.price_cents.copy(), due)

    def tick(self, symbol: Int64Array, price_cents: Int64Array) -> Int64Array:
        """Snapshots of all accounts that hold one of some symbols, at their new prices; shape ``(9, n)``."""
        self.price_cents[symbol] = price_cents
        count = _value(
            symbol, self.price_cents, self.first, self.owner, self.quantity_bp, self.value_cents, self.account, self.due
        )
        out = np.empty((OUT, count), np.int64)
        _tell(self.account, self.due, out)
        return out


@njit(cache=True, error_model="numpy")
def _percent_e4(change: int, base: int) -> int:
    if base <= 0:
        return 0
    quotient = abs(change) * 1_000_000 // base
    twice = 2 * (abs(change) * 1_000_000 - quotient * base)
    if twice > base or (twice == base and quotient % 2 == 1):
        quotient += 1
    quotient = min(quotient, 9_999_999_999)
    return quotient if change >= 0 else -quotient


@njit(cache=True, error_model="numpy")
def _value(
    symbols: Int64Array,
    price_cents: Int64Array,
    first: Int64Array,
    owner: Int32Array,
    quantity_bp: Int64Array,
    value_cents: Int64Array,
    account: Int64Array,
    due: BoolArray,
) -> int:
    count = 0
    for symbol in symbols:
        price = price_cents[symbol]
        for row in range(first[symbol], first[symbol + 1]):
            quantity = quantity_bp[row]
            value = quantity * price // 10_000 if quantity >= 0 else -(-quantity * price // 10_000)
            change = value - value_cents[row]
            value_cents[row] = value
            account[owner[row], VALUE] += change
            account[owner[row], UNREALIZED] += change
            count += not due[owner[row]]
            due[owner[row]] = True
    return count


@njit(cache=True, error_model="numpy")
def _tell(account: Int64Array, due: BoolArray, out: Int64Array) -> None:
    index = 0
    for row in range(len(account)):
        if not due[row]:
            continue
        due[row] = False
        cash, value, net_flow = account[row, CASH], account[row, VALUE], account[row, NET_FLOW]
        equity = cash + value
        day_change = equity - net_flow - (account[row, BASE] - account[row, BASE_FLOW])
        out[0, index] = account[row, ACCOUNT_ID]
        out[1, index], out[2, index], out[3, index] = equity, cash, value
        out[4, index], out[5, index] = day_change, _percent_e4(day_change, equity - day_change)
        out[6, index], out[7, index] = account[row, UNREALIZED], account[row, REALIZED]
        out[8, index] = net_flow
        index += 1
