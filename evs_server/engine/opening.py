"""
How an account begins here: from the exchange's tables, by fold or by import (DESIGN 6). Pure.

Either way ``net_flow = cash + cost of what is open - realized``: what must have been paid in for the account to be
where it is.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from evs_server.engine.accounting import Lot, fold
from evs_server.engine.arithmetic import notional_cents
from evs_server.model import ExchangeAccount, ExchangeImport


@dataclass(frozen=True, slots=True)
class Opening:
    """
    An account about to be taken in.

    Attributes:
        lots: By symbol.
        has_base: Whether what was paid in is its base: the day change of a folded account must not depend on how soon
            it was taken in. An imported one has a past of unknown length; its first fully priced valuation is its base.
    """

    account_id: int
    cash_cents: int
    net_flow_cents: int
    realized_cents: int
    lots: dict[int, Lot]
    has_base: bool


def folded(account: ExchangeAccount) -> Opening:
    """An account created later: positions and realized are the fold of its trades, cash is the exchange's."""
    lots = fold(account.trades)
    realized = sum(lot.realized_cents for lot in lots.values())
    basis = sum(lot.basis_cents for lot in lots.values())
    net_flow = account.cash_cents + basis - realized
    return Opening(account.account_id, account.cash_cents, net_flow, realized, lots, has_base=True)


def imported(tables: ExchangeImport) -> Iterator[Opening]:
    """Every account of the first import: positions cost their average cost, realized is 0."""
    lots: dict[int, dict[int, Lot]] = {}
    for account_id, symbol_id, quantity_bp, avg_cost_cents in zip(
        tables.position_account_id.tolist(),
        tables.position_symbol_id.tolist(),
        tables.position_quantity_bp.tolist(),
        tables.position_avg_cost_cents.tolist(),
        strict=True,
    ):
        lots.setdefault(account_id, {})[symbol_id] = Lot(quantity_bp, notional_cents(quantity_bp, avg_cost_cents))
    for account_id, cash_cents in zip(tables.account_id.tolist(), tables.cash_cents.tolist(), strict=True):
        own = lots.get(account_id, {})
        net_flow = cash_cents + sum(lot.basis_cents for lot in own.values())
        yield Opening(account_id, cash_cents, net_flow, 0, own, has_base=False)
