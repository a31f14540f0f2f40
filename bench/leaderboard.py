"""
How long the ranking of all accounts takes, against merely sorting as many returns (``leaderboard/bare_sort``).

Ours: from columns of growths and newest snapshots to accounts in order: link the running session, round to the four
decimals that are told, leave out who has no base, order by return and id. Yardstick: numpy's sort of the finished
returns with their ids. Both on the same accounts, in turn, several rounds, the returns changing from round to round;
accounts are multiplied to show that the cost is in proportion. Shown apart: the copy of the newest snapshots, which is
all that holds up the event loop (the rest is done in a thread), and reading one account's place. Left out: what is
read from the database once a session.
"""

import time

import numpy as np
from rich.console import Console
from rich.table import Table

from bench.command import run
from bench.harness import Result, Sample, measure, show, timed
from evs_server.engine.book import Book
from evs_server.engine.growth import GROWTH_ONE, return_columns_e4
from evs_server.engine.views import snapshots
from evs_server.model import Int64Array, SnapshotColumns
from evs_server.performance.ranking import Ranking, ranked

ROUNDS = 15
ACCOUNTS = (10_000, 30_000, 100_000)
READS = 100


async def main(rounds: int = ROUNDS) -> list[Result]:
    """Measure each size, print what is shown apart; the result of the largest."""
    apart = Table("accounts", "copy of the newest snapshots, ms", "one account's place, us")
    results = []
    for account_count in ACCOUNTS:
        book = a_book(account_count)
        results.append(measure_ranking(book, rounds))
        ranking = ranked(growths(0, account_count), snapshots(book))
        copy_s = min(timed(lambda: snapshots(book)).cost for _ in range(ROUNDS))  # noqa: B023 -- called at once
        apart.add_row(f"{account_count:,}", f"{1e3 * copy_s:.2f}", f"{1e6 * place_seconds(ranking):.0f}")
    show(results[:-1])
    Console().print(apart)
    return results[-1:]


def a_book(account_count: int) -> Book:
    """Accounts in no order, worth about 10,000 dollars each, some of them equally much."""
    chance = np.random.default_rng(1)
    book = Book()
    for account_id in chance.permutation(account_count).tolist():
        book.add_account(account_id + 1)
    every = slice(0, account_count)
    book.latest.equity_cents[every] = chance.integers(900_000, 1_100_000, account_count)
    book.latest.day_change_cents[every] = chance.integers(-20_000, 20_000, account_count)
    return book


def growths(number: int, account_count: int) -> Int64Array:
    """What accounts have grown by before today; others in each round."""
    chance = np.random.default_rng(number)
    return chance.integers(GROWTH_ONE // 2, 2 * GROWTH_ONE, account_count)


def measure_ranking(book: Book, rounds: int) -> Result:
    """The case of one size."""
    latest, count = snapshots(book), book.accounts.count

    def ours(number: int) -> Sample:
        growth = growths(number, count)
        sample = timed(lambda: ranked(growth, latest))
        return Sample(sample.cost, sample.output.account_id.tolist())

    def yardstick(number: int) -> Sample:
        loss = -returns(growths(number, count), latest)
        sample = timed(lambda: latest.account_id[np.lexsort((latest.account_id, loss))])
        return Sample(sample.cost, sample.output.tolist())

    return measure("leaderboard/bare_sort", ours, yardstick, rounds=rounds, unit="ms", note=f"{count:,} accounts")


def returns(growth: Int64Array, latest: SnapshotColumns) -> Int64Array:
    """What is to be sorted."""
    return return_columns_e4(growth, latest.equity_cents, latest.equity_cents - latest.day_change_cents)


def place_seconds(ranking: Ranking) -> float:
    """How long one account's place takes to find."""
    began = time.perf_counter()
    for account_id in range(1, READS + 1):
        ranking.place_of(account_id)
    return (time.perf_counter() - began) / READS


if __name__ == "__main__":
    run(main, rounds=3 * ROUNDS)
