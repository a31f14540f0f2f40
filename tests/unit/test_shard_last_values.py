"""The newest valuations, put out for when nobody owns the shard: what changes goes first."""

from evs.cluster.v1 import cluster_pb2

from evs_server.shard.last_values import PUT_MAX, LastValuesOut
from tests.builders import Floor
from tests.log_in_process import LogInProcess

SHARD = 7


def kept(log: LogInProcess) -> dict[int, int]:
    """Equity by account, as it could be read."""
    return {
        account_id: cluster_pb2.Snapshots.FromString(value).equity_cents[0]
        for account_id, value in log.last_values[SHARD].items()
    }


async def test_what_has_changed_goes_first_and_the_rest_after_it() -> None:
    """A start puts out everything, as there is room."""
    floor, log = Floor(cash_cents=dict.fromkeys(range(1, 2 * PUT_MAX), 100)), LogInProcess()
    out = LastValuesOut(SHARD, floor.engine, log)
    out.begin()
    floor.flow(1, 5)
    for made in floor.complete():
        out.publish(made)
    out.put()
    assert (105, PUT_MAX) == (kept(log)[1], len(kept(log)))
    out.put()
    assert (2 * PUT_MAX - 1, 0) == (len(kept(log)), out.waiting_count)


async def test_it_is_put_out_as_it_is_then() -> None:
    """Of several valuations only the newest is."""
    floor, log = Floor(cash_cents={1: 100}), LogInProcess()
    out = LastValuesOut(SHARD, floor.engine, log)
    for amount in (5, 6):
        floor.flow(1, amount)
        for made in floor.complete():
            out.publish(made)
    out.put()
    assert {1: 111} == kept(log)
    log.last_values.clear()
    out.put()
    assert {} == kept(log)
