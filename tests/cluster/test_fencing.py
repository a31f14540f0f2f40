"""Two gateways for one source: whoever comes second finds what the first has put in; nothing counts twice."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import grpc
import pytest
from evs.v1 import evs_pb2 as pb

from tests.cluster.deployment import Cluster, ready, started
from tests.e2e.caller import Caller, refused
from tests.e2e.exchange_tables import ExchangeTables


@pytest.mark.faults
def test_two_gateways_for_one_source_fence_each_other(tables: ExchangeTables, cluster: Cluster) -> None:
    """A sequence that is sent to both at once counts once, each time; a new epoch at one ends the old at the other."""
    account_id = tables.open_account()
    addresses = [started(cluster), ready(cluster.add_gateway())]
    with ExitStack() as stack, ThreadPoolExecutor(8) as pool:
        callers = [stack.enter_context(Caller(address)) for address in addresses]

        def send(caller: Caller, sequence: int, epoch: int = 1) -> pb.OnCashAdjustedResponse:
            return caller.cash(account_id, 1, event_id=pb.EventId(source="em", epoch=epoch, sequence=sequence))

        for sequence in range(1, 31):
            jobs = [pool.submit(send, caller, sequence) for caller in callers * 3]
            assert [False] + [True] * 5 == sorted(job.result().duplicate for job in jobs)
        assert 1 == send(callers[0], 1, epoch=2).applied_sequence
        with pytest.raises(grpc.RpcError) as caught:
            send(callers[1], 31)
        assert "FAILED_PRECONDITION" == refused(caught.value).code
        callers[1].tick()
        for caller in callers:
            assert 1 == caller.ingest_state("em", wait_durable=1).durable_sequence
        assert 31 == callers[1].numbers(account_id).equity
    cluster.stop()
