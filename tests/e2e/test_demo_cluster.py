"""The demo of a cluster: it starts, a shard of it is killed, the numbers go on; then nothing of it is left."""

import os
import signal
import sys
from pathlib import Path

import pytest

from tests.e2e.demo_cluster import DemoCluster, an_account_in, demo_cluster
from tests.e2e.processes import children, running, wait_until_gone
from tests.patience import PATIENCE_SECONDS, eventually

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="watches processes as Linux shows them")


def the_numbers_go_on(demo: DemoCluster, account_id: int) -> None:
    """Return once an account has been valued anew."""
    before = demo.version(account_id)
    eventually(lambda: demo.version(account_id) > before, f"a new version of account {account_id}")


def test_a_shard_of_the_demo_is_killed_and_the_numbers_go_on(tmp_path: Path) -> None:
    """The others take over what it owned; Ctrl-C then stops all of it, and no process is left."""
    with demo_cluster(tmp_path) as demo:
        processes = demo.processes()
        demo.wait_until_owned(set(processes.values()))
        owned = {name: demo.owned(pid) for name, pid in processes.items()}
        started = children(demo.command.process.pid)
        assert 8 == len(started), "PostgreSQL, NATS, a gateway, three shards, two bridges"
        killed = demo.kill()
        # Nobody else values it: a version that grows is that of an heir.
        account_id = an_account_in(owned[killed])
        demo.command.wait_for(rf"{killed} has been killed \(process {processes.pop(killed)}\)")
        demo.wait_until_owned(set(processes.values()))
        the_numbers_go_on(demo, account_id)
        demo.command.process.send_signal(signal.SIGINT)
        assert 0 == demo.command.wait_for_end(PATIENCE_SECONDS), demo.command.said
    wait_until_gone(started)
    assert ["cluster"] == [entry.name for entry in tmp_path.iterdir()], "the other demo's data are left alone"
    with running("demo-cluster", "--kill", data_dir=tmp_path) as kill:
        assert 2 == kill.wait_for_end(PATIENCE_SECONDS)
        assert "no shard of a demo runs" in kill.said


@pytest.mark.faults
def test_a_demo_of_a_cluster_that_is_killed_takes_its_parts_with_it(tmp_path: Path) -> None:
    """Not even SIGKILL leaves anything behind; and the next one goes on where it ended."""
    with demo_cluster(tmp_path) as demo:
        account_id = an_account_in(set(range(64)))
        the_numbers_go_on(demo, account_id)
        version = demo.version(account_id)
        started = children(demo.command.process.pid)
        os.kill(demo.command.process.pid, signal.SIGKILL)
        assert -signal.SIGKILL == demo.command.wait_for_end()
        wait_until_gone(started)
    with demo_cluster(tmp_path) as demo:
        assert version < eventually(lambda: demo.version(account_id), "a version")
        the_numbers_go_on(demo, account_id)


@pytest.mark.faults
def test_a_shard_that_was_killed_is_started_again_and_gets_its_share(tmp_path: Path) -> None:
    with demo_cluster(tmp_path) as demo:
        processes = demo.processes()
        demo.wait_until_owned(set(processes.values()))
        killed = demo.kill()
        again = int(demo.command.wait_for(rf"{killed} runs again \(process (\d+)\)", 2 * PATIENCE_SECONDS)[1])
        eventually(lambda: len(demo.owned(again)) >= 21, f"the share of {killed}")
        demo.wait_until_owned({again, *processes.values()} - {processes[killed]})
        the_numbers_go_on(demo, an_account_in(demo.owned(again)))


def test_the_demo_of_a_cluster_says_which_address_is_taken(tmp_path: Path) -> None:
    """Also the one after the first bridge's, where the second listens. Nothing is started then."""
    with running("bridge", data_dir=tmp_path / "other", bridge_listen="127.0.0.1:0", bridge_metrics_listen="") as other:
        taken = int(other.wait_for(r"http://127\.0\.0\.1:(\d+)/")[1])
        settings = {"listen": "127.0.0.1:0", "metrics_listen": "127.0.0.1:0", "bridge_metrics_listen": ""}
        with running("demo-cluster", data_dir=tmp_path, bridge_listen=f"127.0.0.1:{taken - 1}", **settings) as demo:
            assert 2 == demo.wait_for_end(PATIENCE_SECONDS)
            assert f"127.0.0.1:{taken}" in demo.said
    assert not (tmp_path / "cluster").exists()
