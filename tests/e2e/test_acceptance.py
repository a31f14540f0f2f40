"""
What a stranger may count on who has read ``evs.proto`` and DESIGN 3 and 4: every number, on every surface.

EVS runs as a process on an external PostgreSQL that holds the exchange's tables.
"""

import random
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from decimal import Decimal
from functools import partial
from typing import Any

import grpc
import pytest
from evs.v1 import evs_pb2 as pb

from evs_server.model import Side
from tests.e2e.caller import BUY, SELL, SHARE, Caller, Numbers, ten_fields
from tests.e2e.exchange_tables import ExchangeTables
from tests.patience import eventually
from tests.reference import Account, notional

OPENING = 1_000_000

# --- the vectors of DESIGN 3 -------------------------------------------------------------------------------------


Opening = tuple[int, Callable[..., object]]
"""An account, and how it trades."""


def announced(exchange: ExchangeTables, caller: Caller) -> Opening:
    """An account with its opening cash in the tables; trades are told and never settled there."""
    account_id = exchange.open_account(OPENING)
    return account_id, partial(caller.trade, account_id)


def settled_first(exchange: ExchangeTables, caller: Caller) -> Opening:
    """As the real exchange does it: the account's first trade is in the tables before EVS hears of either."""
    account_id = exchange.open_account(OPENING)

    def trade(symbol_id: int, side: pb.TradeSide, quantity_bp: int, price_cents: int) -> None:
        name = "BUY" if side == BUY else "SELL"
        settlement_id = exchange.settle(account_id, symbol_id, name, quantity_bp, price_cents)
        caller.trade(account_id, symbol_id, side, quantity_bp, price_cents, settlement_id=settlement_id)

    return account_id, trade


def deposited(exchange: ExchangeTables, caller: Caller) -> Opening:
    """An account that is seen empty, and then gets its opening deposit as a flow."""
    account_id = exchange.open_account()
    assert Numbers(0, 0, 0, 0, 0, 0) == caller.numbers(account_id)
    caller.cash(account_id, OPENING, reason="opening deposit")
    return account_id, partial(caller.trade, account_id)


openings = pytest.mark.parametrize("opening", [announced, settled_first, deposited])


@openings
def test_vectors_1_to_4(opening: Callable[..., Opening], exchange: ExchangeTables,
                        caller: Caller, symbol: int) -> None:  # fmt: skip
    """Buy, price up, sell half, price down: cash, value, equity, unrealized, realized and the day's change."""
    account_id, trade = opening(exchange, caller)
    trade(symbol, BUY, 1_000_000, 5_000)
    caller.tick(1)
    assert Numbers(500_000, 500_000, 1_000_000, 0, 0, 0) == caller.numbers(account_id)
    caller.price(symbol, 6_000)
    caller.tick(2)
    assert Numbers(500_000, 600_000, 1_100_000, 100_000, 0, 100_000) == caller.numbers(account_id)
    assert 10.0 == caller.equity(account_id).equity.day_change_percent
    trade(symbol, SELL, 500_000, 6_000)
    caller.tick(3)
    assert Numbers(800_000, 300_000, 1_100_000, 50_000, 50_000, 100_000) == caller.numbers(account_id)
    caller.price(symbol, 4_000)
    caller.tick(4)
    assert Numbers(800_000, 200_000, 1_000_000, -50_000, 50_000, 0) == caller.numbers(account_id)
    assert 0.0 == caller.equity(account_id).equity.day_change_percent
    assert OPENING == caller.equity(account_id).net_flow


@openings
def test_vector_5_a_sale_of_more_than_is_held_goes_short(
    opening: Callable[..., Opening], exchange: ExchangeTables, caller: Caller, symbol: int
) -> None:
    """The long is closed at its cost, the rest is opened at the price of the fill."""
    account_id, trade = opening(exchange, caller)
    trade(symbol, BUY, 100 * SHARE, 5_000)
    trade(symbol, SELL, 150 * SHARE, 5_500)
    caller.tick()
    assert Numbers(1_325_000, -275_000, 1_050_000, 0, 50_000, 50_000) == caller.numbers(account_id)
    position = caller.positions(account_id)[symbol]
    assert (-50 * SHARE, -275_000, 50_000) == (position.quantity_bp, position.basis_cents, position.realized_pnl)
    trade(symbol, BUY, 60 * SHARE, 5_000)
    caller.tick()
    position = caller.positions(account_id)[symbol]
    assert (10 * SHARE, 50_000, 75_000) == (position.quantity_bp, position.basis_cents, position.realized_pnl)


@openings
def test_vector_6_no_cent_of_the_cost_is_lost(
    opening: Callable[..., Opening], exchange: ExchangeTables, caller: Caller, symbol: int
) -> None:
    """100, 100 and 101 cost 301, and three sold at 101 bring 2."""
    account_id, trade = opening(exchange, caller)
    for price in (100, 100, 101):
        trade(symbol, BUY, SHARE, price)
    caller.tick()
    assert 301 == caller.positions(account_id)[symbol].basis_cents
    trade(symbol, SELL, 3 * SHARE, 101)
    caller.tick()
    closed = caller.positions(account_id)[symbol]
    assert (0, 0, 0, 2) == (closed.quantity_bp, closed.basis_cents, closed.market_value, closed.realized_pnl)
    assert Numbers(OPENING + 2, 0, OPENING + 2, 0, 2, 2) == caller.numbers(account_id)


def test_vector_7_a_price_reaches_each_holder_once(
    exchange: ExchangeTables, caller: Caller, symbol: int, *, is_cluster: bool
) -> None:
    """One who only holds, and one who also trades, get one snapshot of a tick; who holds nothing gets none."""
    holder, trader, stranger = (exchange.open_account(OPENING) for _ in range(3))
    for account_id in (holder, trader):
        caller.trade(account_id, symbol, BUY, 100 * SHARE, 5_000)
    caller.tick(1)
    before = caller.equity(stranger).version
    with caller.follow(holder) as holding, caller.follow(trader) as trading:
        assert holding.next().snapshot
        assert trading.next().snapshot
        caller.price(symbol, 6_000)
        caller.trade(trader, symbol, BUY, SHARE, 6_000)
        assert 2 == caller.tick(2).accounts_valued
        priced = [holding.next(), trading.next()]
        assert [2, 2] == [message.equity.tick for message in priced]
        if not is_cluster:  # where versions are of one virtual shard each
            assert 1 == len({message.version for message in priced}), "all snapshots of a tick share its version"
        # The next message is of the next tick: the price was told once.
        for account_id in (holder, trader):
            caller.cash(account_id, 1)
        caller.tick(3)
        assert [3, 3] == [stream.next().equity.tick for stream in (holding, trading)]
    assert 600_000 + OPENING - 500_000 == priced[0].equity.total_equity
    assert before == caller.equity(stranger).version


# --- accounting beyond the vectors -------------------------------------------------------------------------------


def test_a_fee_is_a_loss_and_not_a_cost_of_the_shares(exchange: ExchangeTables, caller: Caller, symbol: int) -> None:
    """A fee lowers cash and realized; what the shares cost stays what they cost."""
    account_id = exchange.open_account(OPENING)
    caller.trade(account_id, symbol, BUY, 10 * SHARE, 1_000, fee_cents=25)
    caller.tick()
    assert Numbers(OPENING - 10_025, 10_000, OPENING - 25, 0, -25, -25) == caller.numbers(account_id)
    position = caller.positions(account_id)[symbol]
    assert (10_000, -25) == (position.basis_cents, position.realized_pnl)


def test_a_trade_with_oneself_changes_nothing_but_fees(exchange: ExchangeTables, caller: Caller, symbol: int) -> None:
    """Both legs of a trade may be the same account's."""
    account_id = exchange.open_account(OPENING)
    caller.trade(account_id, symbol, BUY, 7 * SHARE, 333, settlement_id=901)
    caller.trade(account_id, symbol, SELL, 7 * SHARE, 333, settlement_id=901, fee_cents=1)
    caller.tick()
    assert Numbers(OPENING - 1, 0, OPENING - 1, 0, -1, -1) == caller.numbers(account_id)


@pytest.mark.parametrize(
    ("value_cents", "side", "quantity_bp", "price_cents"),
    [
        (0, BUY, 9_999, 1),  # less than a cent
        (0, SELL, 9_999, 1),
        (166, BUY, 5_000, 333),
        (-166, SELL, 5_000, 333),  # toward zero, not -167
        (10**12, BUY, SHARE, 10**12),
        (-(10**12), SELL, SHARE, 10**12),
    ],
)
def test_values_are_cut_toward_zero(value_cents: int, side: pb.TradeSide, quantity_bp: int, price_cents: int,
                                    exchange: ExchangeTables, caller: Caller, symbol: int) -> None:  # fmt: skip
    """A short is the exact mirror of a long."""
    account_id = exchange.open_account()
    caller.trade(account_id, symbol, side, quantity_bp, price_cents)
    caller.tick()
    assert Numbers(-value_cents, value_cents, 0, 0, 0, 0) == caller.numbers(account_id)


def test_a_flow_is_never_a_profit(exchange: ExchangeTables, caller: Caller) -> None:
    """Deposits and withdrawals move equity and net flow alike, below zero too."""
    account_id = exchange.open_account(100)
    caller.numbers(account_id)
    caller.cash(account_id, 50)
    caller.cash(account_id, -400)
    caller.tick()
    answer = caller.equity(account_id)
    assert (-250, -250, 0) == (answer.equity.total_equity, answer.net_flow, answer.equity.day_change)
    assert pb.EQUITY_FLAG_NO_BASE in answer.flags
    assert 0.0 == answer.equity.day_change_percent


def test_the_last_trade_is_the_price_until_somebody_says_one(
    exchange: ExchangeTables, caller: Caller, symbol: int
) -> None:
    """Trades move the mark of a symbol up to its first ``OnPriceUpdated``, and never again."""
    account_id, other = exchange.open_account(OPENING), exchange.open_account(OPENING)
    caller.trade(account_id, symbol, BUY, SHARE, 100)
    caller.trade(other, symbol, SELL, SHARE, 120)
    caller.tick()
    position = caller.positions(account_id)[symbol]
    assert (120, pb.MARK_SOURCE_LAST_TRADE) == (position.mark_price, position.mark_source)
    caller.price(symbol, 110)
    caller.trade(other, symbol, SELL, SHARE, 500)
    caller.tick()
    position = caller.positions(account_id)[symbol]
    assert (110, pb.MARK_SOURCE_MARK) == (position.mark_price, position.mark_source)


def events_at_random(rng: random.Random, accounts: dict[int, Account], symbols: list[int]) -> Iterator[pb.EventRun]:
    """Runs of trades, both legs together, applied to the twins as they are made; sometimes one trades with itself."""
    for _ in range(40):
        columns = pb.TradeColumns()
        for _ in range(rng.randint(1, 8)):
            symbol_id, size, price = rng.choice(symbols), rng.randint(1, 30_000), rng.randint(1, 2_000)
            for side in (Side.BUY, Side.SELL):
                account_id, fee = rng.choice(list(accounts)), rng.choice([0, 0, 3])
                accounts[account_id].fill(symbol_id, side, size, price, fee)
                columns.account_id.append(account_id)
                columns.symbol_id.append(symbol_id)
                columns.side.append(BUY if side is Side.BUY else SELL)
                columns.quantity_bp.append(size)
                columns.price_cents.append(price)
                columns.fee_cents.append(fee)
        yield pb.EventRun(trades=columns)


def test_many_trades_at_random_are_what_a_slow_twin_says(exchange: ExchangeTables, caller: Caller, symbol: int) -> None:
    """Flips, shorts, fees and self-trades, in batches of which some are sent twice."""
    rng = random.Random(20_240_229)
    twins = {exchange.open_account(): Account() for _ in range(4)}
    symbols = [1_000 * symbol + each for each in range(3)]
    batches, sequence = [], 1
    for run in events_at_random(rng, twins, symbols):
        batch = pb.StreamEventsRequest(source=f"twin-{symbol}", epoch=1, first_sequence=sequence, runs=[run])
        sequence += len(run.trades.account_id)
        batches += [batch] * rng.choice([1, 1, 1, 2])
    answers = [answer for answer in caller.stream(iter(batches)) if answer.batch_answer]
    assert len(batches) == len(answers)
    assert sequence - 1 == answers[-1].applied_sequence
    assert [] == [refusal for answer in answers for refusal in answer.refusals]
    for each in symbols:
        caller.price(each, 777)
    caller.tick()
    for account_id, twin in twins.items():
        positions = caller.positions(account_id)
        assert twin.lots == {
            each: (position.quantity_bp, position.basis_cents, position.realized_pnl)
            for each, position in positions.items()
        }
        value = sum(notional(quantity_bp, 777) for quantity_bp, _, _ in twin.lots.values())
        basis = sum(basis for _, basis, _ in twin.lots.values())
        expected = (twin.cash, value, twin.cash + value, value - basis, twin.realized)
        assert expected == caller.numbers(account_id)[:5]


# --- ticks -------------------------------------------------------------------------------------------------------


def test_ticks_may_repeat_jump_and_go_back(exchange: ExchangeTables, caller: Caller) -> None:
    """No tick is refused; what is stored stays, and ``version`` alone puts it in order."""
    account_id = exchange.open_account()
    ticks = [7, 7, 3, 3 + 10**9, 8, 0, 2**53 - 1, 1]
    caller.numbers(account_id)
    with caller.follow(account_id) as stream:
        stream.next()
        seen = []
        for tick in ticks:
            caller.cash(account_id, 1)
            assert 1 == caller.tick(tick).accounts_valued
            assert 0 == caller.tick(tick).accounts_valued, "the repeat found nothing new"
            seen.append(stream.next())
    assert ticks == [message.equity.tick for message in seen]
    assert list(range(1, len(ticks) + 1)) == [message.equity.total_equity for message in seen]
    versions = [message.version for message in seen]
    assert sorted(set(versions)) == versions
    caller.wait_stored()
    assert ticks == [row["tick"] for row in exchange.equity_rows(account_id)[1:]]


def test_a_price_that_stays_the_same_changes_nothing(exchange: ExchangeTables, caller: Caller, symbol: int) -> None:
    """Nor does one that comes back before the tick completes make more than one snapshot."""
    account_id = exchange.open_account(OPENING)
    caller.trade(account_id, symbol, BUY, SHARE, 100)
    caller.price(symbol, 100)
    caller.tick()
    version = caller.equity(account_id).version
    caller.price(symbol, 100)
    assert 0 == caller.tick().accounts_valued
    assert version == caller.equity(account_id).version
    for price in (101, 102, 103):
        caller.price(symbol, price)
    assert 1 == caller.tick().accounts_valued


def test_nothing_is_seen_of_half_a_tick(exchange: ExchangeTables, caller: Caller, symbol: int) -> None:
    """Reads, positions and new streams are of the last completed tick, whatever has come since."""
    account_id = exchange.open_account(OPENING)
    caller.trade(account_id, symbol, BUY, 10 * SHARE, 100)
    caller.tick(5)
    before, held = caller.equity(account_id), caller.positions(account_id)
    caller.trade(account_id, symbol, BUY, 10 * SHARE, 900)
    caller.cash(account_id, 77)
    caller.price(symbol, 5)
    assert before == caller.equity(account_id)
    assert held == caller.positions(account_id)
    with caller.follow(account_id) as stream:
        snapshot = stream.next()
    assert (before.equity, before.version, True) == (snapshot.equity, snapshot.version, snapshot.snapshot)
    caller.tick(6)
    assert Numbers(OPENING - 10_000 + 77, 100, OPENING - 9_823, -9_900, 0, -9_900) == caller.numbers(account_id)


# --- one number on every surface ---------------------------------------------------------------------------------


def test_stream_read_and_row_say_the_same(exchange: ExchangeTables, caller: Caller, symbol: int) -> None:
    """Of one version all ten numbers are equal, wherever they are read; positions add up to them."""
    account_id = exchange.open_account(333_333)
    caller.numbers(account_id)
    streamed, read = [], []
    with caller.follow(account_id) as stream:
        streamed.append(stream.next())
        for number, price in enumerate((999, 1_001, 3, 1_000_000), 1):
            caller.trade(account_id, symbol, SELL if number == 3 else BUY, 12_345 * number, price, fee_cents=number)
            caller.price(symbol, price + 1)
            caller.tick(number, tick_time=0)
            streamed.append(stream.next())
            read.append(caller.equity(account_id))
            held = caller.positions(account_id).values()
            assert read[-1].equity.position_value == sum(position.market_value for position in held)
            assert read[-1].equity.unrealized_pnl == sum(position.unrealized_pnl for position in held)
            assert read[-1].equity.realized_pnl == sum(position.realized_pnl for position in held)
    assert [(answer.version, answer.equity, list(answer.flags)) for answer in read] == [
        (message.version, message.equity, list(message.flags)) for message in streamed[1:]
    ]
    caller.wait_stored()
    rows = exchange.equity_rows(account_id)
    assert [message.version for message in streamed] == [row["version"] for row in rows]
    for message, row in zip(streamed, rows, strict=True):
        expected = ten_fields(message.equity)
        assert expected.pop("timestamp") == int(row["unix_seconds"])
        assert Decimal(str(expected.pop("day_change_percent"))) == row["day_change_percent"]
        assert expected == {name: row[name] for name in expected}
        assert [flag for flag in range(1, 32) if row["flags"] >> flag & 1] == list(message.flags)


def test_two_subscribers_each_see_their_own_account(exchange: ExchangeTables, caller: Caller, symbol: int) -> None:
    """Accounts that trade with each other, in the same ticks, learn nothing of each other."""
    ids = [exchange.open_account(OPENING) for _ in range(2)]
    with caller.follow(ids[0]) as first, caller.follow(ids[1]) as second, caller.follow(ids[1]) as third:
        streams = [first, second, third]
        seen = [[stream.next()] for stream in streams]
        for number in range(1, 20):
            caller.trade(ids[number % 2], symbol, BUY, SHARE, 100 * number)
            caller.trade(ids[1 - number % 2], symbol, SELL, SHARE, 100 * number)
            assert 2 == caller.tick(number).accounts_valued
            for messages, stream in zip(seen, streams, strict=True):
                messages.append(stream.next())
    assert [{ids[0]}, {ids[1]}, {ids[1]}] == [{each.equity.account_id for each in messages} for messages in seen]
    assert [0] * 60 == [each.conflated for messages in seen for each in messages]
    assert [[True] + [False] * 19] * 3 == [[each.snapshot for each in messages] for messages in seen]
    assert seen[1] == seen[2]


def test_a_reader_that_sleeps_skips_to_the_last_value(
    exchange: ExchangeTables, caller: Caller, *, is_cluster: bool
) -> None:
    """Whatever it missed is counted, and the final value always comes."""
    account_id, count = exchange.open_account(), 300 if is_cluster else 3_000
    run = pb.EventRun(cash=pb.CashColumns(account_id=[account_id], amount_cents=[1]))
    tick = pb.EventRun(ticks=pb.TickColumns(tick_id=[1]))
    with caller.follow(account_id) as stream:
        assert 0 == stream.next().equity.total_equity
        list(caller.stream(iter([pb.StreamEventsRequest(runs=[run, tick] * count)])))
        if is_cluster:  # where so many ticks take 64 virtual shards longer than a call waits for them
            eventually(lambda: caller.equity(account_id).equity.total_equity == count, "all ticks are valued")
        latest = caller.equity(account_id)
        assert count == latest.equity.total_equity
        seen = stream.until(latest.version)
    assert latest.equity == seen[-1].equity
    assert count == sum(1 + message.conflated for message in seen)


def test_readers_that_come_and_go_leave_no_trace(exchange: ExchangeTables, caller: Caller) -> None:
    """Cancelled streams, at any moment, do not disturb the one that stays."""
    account_id = exchange.open_account()
    with caller.follow(account_id) as staying:
        assert staying.next().snapshot
        for number in range(1, 31):
            with caller.follow(account_id) as leaving:
                if number % 2:
                    leaving.next()
                caller.cash(account_id, 1)
                caller.tick(number)
            assert number == staying.next().equity.total_equity


def test_many_accounts_are_read_at_once(exchange: ExchangeTables, caller: Caller) -> None:
    """In the order asked; those that the exchange does not have are listed apart."""
    ids = [exchange.open_account(cents) for cents in (5, 6, 7)]
    asked = [ids[2], 8_888_888, ids[0], ids[1], ids[0]]
    answer = caller.call("BatchGetEquity", pb.BatchGetEquityRequest(account_ids=asked))
    assert [7, 5, 6, 5] == [each.equity.total_equity for each in answer.equities]
    assert [8_888_888] == list(answer.unknown_account_ids)
    assert [caller.equity(ids[0])] == list(answer.equities[1:2])


# --- accounts that EVS has not seen ------------------------------------------------------------------------------


def test_a_user_who_has_just_registered_sees_an_empty_account(exchange: ExchangeTables, caller: Caller) -> None:
    """Read or followed before anything has happened: zeros, not an error; an account nobody has stays unknown."""
    account_id = exchange.open_account()
    with caller.follow(account_id) as stream:
        assert 0 == stream.next().equity.total_equity
    with caller.follow(account_id + 1_000) as stream:
        assert grpc.StatusCode.NOT_FOUND == stream.end()


def test_a_trade_that_is_in_the_tables_already_counts_once(
    exchange: ExchangeTables, caller: Caller, symbol: int
) -> None:
    """Settled first and told afterwards, with a settlement id or without, in any order."""
    account_id = exchange.open_account(OPENING)
    first = exchange.settle(account_id, symbol, "BUY", 10 * SHARE, 100)
    exchange.settle(account_id, symbol, "BUY", 5 * SHARE, 200)
    caller.trade(account_id, symbol, BUY, 5 * SHARE, 200)
    caller.trade(account_id, symbol, BUY, 10 * SHARE, 100, settlement_id=first)
    caller.price(symbol, 200)
    caller.tick()
    assert (OPENING - 2_000, 3_000, OPENING + 1_000, 1_000, 0) == caller.numbers(account_id)[:5]
    caller.trade(account_id, symbol, BUY, 5 * SHARE, 200)
    caller.tick()
    assert 20 * SHARE == caller.positions(account_id)[symbol].quantity_bp, "a third trade is one that nobody had told"


def test_a_deposit_that_is_in_the_balance_already_counts_once(exchange: ExchangeTables, caller: Caller) -> None:
    """The exchange writes the balance first: of an account that EVS has not seen, the first news is in it already."""
    account_id = exchange.open_account(700)
    exchange.deposit(account_id, 300)
    caller.cash(account_id, 300)
    caller.tick()
    assert 1_000 == caller.numbers(account_id).equity


def test_a_flow_counts_in_the_tick_that_follows_it(exchange: ExchangeTables, caller: Caller, symbol: int) -> None:
    """Of an account that has just been loaded too: each later deposit is news, and its snapshot does not wait."""
    account_id = exchange.open_account(OPENING)
    settlement_id = exchange.settle(account_id, symbol, "BUY", SHARE, 100)
    caller.trade(account_id, symbol, BUY, SHARE, 100, settlement_id=settlement_id)
    caller.tick()
    exchange.deposit(account_id, 50)
    caller.cash(account_id, 50)
    assert 1 == caller.tick().accounts_valued
    assert OPENING + 50 == caller.numbers(account_id).equity


def test_many_who_ask_for_a_new_account_at_once_find_one(exchange: ExchangeTables, caller: Caller, symbol: int) -> None:
    """Trades and reads that race for its first load lose nothing and count nothing twice."""
    account_id = exchange.open_account(OPENING)
    for _ in range(8):
        exchange.settle(account_id, symbol, "BUY", SHARE, 100)
    with ThreadPoolExecutor(16) as pool:
        jobs: list[Future[Any]] = [pool.submit(caller.trade, account_id, symbol, BUY, SHARE, 100) for _ in range(8)]
        jobs += [pool.submit(caller.equity, account_id) for _ in range(8)]
        for job in jobs:
            job.result()
    caller.tick()
    assert 8 * SHARE == caller.positions(account_id)[symbol].quantity_bp
    assert OPENING - 800 == caller.numbers(account_id).cash
