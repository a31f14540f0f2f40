"""Events that the benchmarks send: trades of many accounts, as columns, the same for the same numbers."""

from evs.v1 import evs_pb2 as pb

SYMBOLS = 100


def trades(numbers: range, first_account: int, account_count: int, *, settled: bool = False) -> pb.EventRun:
    """
    One trade for each number: accounts and symbols in a fixed disorder, both sides, a few shares.

    Args:
        numbers: What makes them differ.
        first_account: Of those that trade ...
        account_count: ... so many, their ids following by one.
        settled: Whether each bears its number as a settlement id.
    """
    mixed = [number * 2_654_435_761 % 2**32 for number in numbers]
    columns = pb.TradeColumns(
        account_id=[first_account + each // 64 % account_count for each in mixed],
        symbol_id=[each // 7 % SYMBOLS for each in mixed],
        side=[pb.TRADE_SIDE_BUY if each & 1 else pb.TRADE_SIDE_SELL for each in mixed],
        quantity_bp=[10_000 * (each % 9 + 1) for each in mixed],
        price_cents=[100 + each % 9_973 for each in mixed],
        settlement_id=numbers if settled else (),
    )
    return pb.EventRun(trades=columns)
