"""F1, F2, F3: EVS is killed, is told to stop, or falls asleep, at the worst moments."""

import os
import select
import signal
from pathlib import Path
from random import Random

import pytest

from evs_server import failpoints
from tests.e2e.exchange_tables import ExchangeTables
from tests.faults.proxy import proxied
from tests.faults.trial import Trial, started

TICKS_BETWEEN = 8


def crash_again_and_again(tables: ExchangeTables, data_dir: Path, crashes: list[str], seed: int) -> None:
    """
    Kill EVS so many times, each time a little further; then everything must be there.

    Args:
        crashes: A failpoint and its count, or empty for a moment at random.
    """
    random = Random(seed)
    with proxied() as proxy:
        trial = Trial(tables, seed=seed)
        with trial.sending(proxy.address):
            for crash in crashes:
                trial.trade(TICKS_BETWEEN)
                with started(tables, data_dir, **({"failpoint": crash} if crash else {})) as (evs, address):
                    proxy.target = address
                    if crash:
                        # Until it comes to that place, there must be something to do.
                        while evs.process.poll() is None:
                            trial.trade(1)
                            _give_way(evs.process.pid)
                        assert -signal.SIGKILL == evs.wait_for_end(), evs.said
                    else:
                        already = trial.event_count - random.randrange(3 * TICKS_BETWEEN)
                        trial.wait_until_applied(already)
                        evs.kill()
            closing = trial.close_market()
            with started(tables, data_dir) as (_, address):
                proxy.target = address
                trial.wait_until_durable()
                trial.verify(address, closing)


def _give_way(pid: int) -> None:
    """Let a process have a moment; returns at once when it has ended."""
    descriptor = os.pidfd_open(pid)
    try:
        select.select([descriptor], [], [], 0.02)
    finally:
        os.close(descriptor)


def test_f01_killed_at_each_failpoint_and_at_random(tables: ExchangeTables, tmp_path: Path) -> None:
    crash_again_and_again(tables, tmp_path, [*(f"{name}:3" for name in failpoints.ALL), ""], seed=1)


@pytest.mark.faults
@pytest.mark.parametrize("seed", range(10))
def test_f01_two_hundred_times(tables: ExchangeTables, tmp_path: Path, seed: int) -> None:
    random = Random(seed)
    crashes = [random.choice(["", f"{random.choice(failpoints.ALL)}:{random.randint(1, 9)}"]) for _ in range(20)]
    crash_again_and_again(tables, tmp_path, crashes, seed)


def test_f02_sigterm_under_load_stores_what_was_applied(tables: ExchangeTables, tmp_path: Path) -> None:
    with proxied() as proxy:
        trial = Trial(tables)
        with trial.sending(proxy.address):
            with started(tables, tmp_path) as (evs, address):
                proxy.target = address
                trial.trade(50)
                trial.wait_until_applied(20)
                applied = trial.sender.applied_sequence
                assert 0 == evs.terminate(), evs.said
            assert trial.sender.durable_sequence <= trial.event_count
            with started(tables, tmp_path) as (_, address):
                proxy.target = address
                trial.wait_until_durable(applied)
                closing = trial.close_market()
                trial.wait_until_durable()
                trial.verify(address, closing)


def test_f02_a_second_sigterm_ends_it_at_once(tables: ExchangeTables, tmp_path: Path) -> None:
    """Nobody waits for what is under way; whatever was not stored is sent again."""
    with proxied() as proxy:
        trial = Trial(tables)
        with trial.sending(proxy.address):
            with started(tables, tmp_path) as (evs, address):
                proxy.target = address
                trial.trade(50)
                trial.wait_until_applied(20)
                evs.process.terminate()
                evs.process.terminate()
                evs.wait_for_end()
            with started(tables, tmp_path) as (_, address):
                proxy.target = address
                closing = trial.close_market()
                trial.wait_until_durable()
                trial.verify(address, closing)


def test_f03_asleep_and_awake_again(tables: ExchangeTables, tmp_path: Path) -> None:
    with proxied() as proxy:
        trial = Trial(tables)
        with trial.sending(proxy.address), started(tables, tmp_path) as (evs, address):
            proxy.target = address
            trial.trade(30)
            trial.wait_until_applied(20)
            evs.process.send_signal(signal.SIGSTOP)
            trial.trade(30)
            proxy.reset_all()
            evs.process.send_signal(signal.SIGCONT)
            closing = trial.close_market()
            trial.wait_until_durable()
            trial.verify(address, closing)
