"""F24: two EVS on one database, under load: one leads, the other takes over, and nothing is written twice."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.exchange_tables import ExchangeTables
from tests.e2e.processes import Command, running
from tests.faults.proxy import proxied
from tests.faults.trial import SETTINGS, Trial


@contextmanager
def starting(tables: ExchangeTables, data_dir: Path) -> Iterator[tuple[Command, str]]:
    """An EVS that serves, or follows."""
    settings = SETTINGS | {"listen": "127.0.0.1:0", "metrics_listen": "127.0.0.1:0", "takeover_seconds": "2"}
    with running("serve", database_url=tables.dsn, data_dir=data_dir, **settings) as command:
        yield command, command.wait_for(r"listening on (\S+)").group(1)


@pytest.mark.parametrize("fate", [signal.SIGKILL, signal.SIGSTOP])
def test_f24_a_follower_takes_over_under_load(fate: signal.Signals, tables: ExchangeTables, tmp_path: Path) -> None:
    """A leader that is killed is replaced at once, one that sleeps a little later; awake again, it writes no more."""
    with proxied() as proxy:
        trial = Trial(tables)
        with trial.sending(proxy.address), starting(tables, tmp_path / "one") as (one, at_one):
            one.wait_for("ready")
            with starting(tables, tmp_path / "two") as (two, at_two):
                two.wait_for("leads on this database")
                proxy.target = at_one
                trial.trade(30)
                trial.wait_until_applied(20)
                one.process.send_signal(fate)
                two.wait_for("ready")
                proxy.target = at_two
                proxy.reset_all()
                trial.trade(30)
                trial.wait_until_durable()
                if fate == signal.SIGSTOP:
                    one.process.send_signal(signal.SIGCONT)
                    assert 1 == one.wait_for_end(), one.said
                closing = trial.close_market()
                trial.wait_until_durable()
                trial.verify(at_two, closing)
