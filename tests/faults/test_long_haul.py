"""
Very many events over a line that breaks at random, EVS killed again and again, Postgres stopped meanwhile.

In the end every account, position and row is held against the fold, and the process against itself.
"""

import signal
from pathlib import Path
from random import Random

import pytest

from tests.database import run_apart
from tests.faults.conftest import OwnServer
from tests.faults.processes import open_file_count, resident_kib
from tests.faults.proxy import CALM, Trouble, proxied
from tests.faults.trial import Trial, started

TRADES_PER_TICK = 20
EVENTS_PER_TICK = 2 * TRADES_PER_TICK + 1
STOPS = 4
GROWTH_FILES_MAX = 20
GROWTH_KIB_MAX = 200_000


@pytest.mark.parametrize(
    ("events", "kills"), [(4_000, 5), pytest.param(100_000, 50, marks=pytest.mark.faults)], ids=["short", "long"]
)
def test_nothing_is_lost_and_nothing_counted_twice(events: int, kills: int, own: OwnServer, tmp_path: Path) -> None:
    random = Random(events)

    def cut_somewhere(_number: int) -> Trouble:
        return Trouble(cut_after_bytes=random.randint(2_000, 200_000))

    trial = Trial(own.tables, account_count=100, seed=events)
    ticks_each = events // EVENTS_PER_TICK // (kills + 1) + 1
    with proxied(trouble_of=cut_somewhere) as proxy, trial.sending(proxy.address):
        for kill in range(kills):
            with started(own.tables, tmp_path) as (evs, address):
                proxy.target = address
                is_stopped = kill % max(kills // STOPS, 1) == 1
                if is_stopped:
                    run_apart(own.postgres.stop())
                trial.trade(ticks_each, TRADES_PER_TICK)
                trial.wait_until_applied(trial.event_count - random.randrange(ticks_each * EVENTS_PER_TICK))
                evs.process.send_signal(signal.SIGKILL)
                evs.wait_for_end()
                if is_stopped:
                    run_apart(own.postgres.start())
        proxy.trouble_of = lambda _: CALM
        with started(own.tables, tmp_path) as (evs, address):
            proxy.target = address
            trial.wait_until_durable()
            files, kib = open_file_count(evs.process.pid), resident_kib(evs.process.pid)
            trial.trade(ticks_each, TRADES_PER_TICK)
            closing = trial.close_market()
            trial.wait_until_durable()
            trial.verify(address, closing)
            assert open_file_count(evs.process.pid) - files < GROWTH_FILES_MAX
            assert resident_kib(evs.process.pid) - kib < GROWTH_KIB_MAX
            assert trial.event_count >= events
