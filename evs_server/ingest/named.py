"""
Which accounts a batch names that have to be looked up, or read again, before it is taken. Pure.

Asked for every batch, and mostly there are none: nothing here looks at single events before one pass over a run has
found that some account of it may be meant.
"""

from collections.abc import Callable

from evs_server.engine import Engine
from evs_server.ingest.sequencer import Sequencing
from evs_server.model import Batch, CashRun, TradeRun


def unknown(engine: Engine, sequencer: Sequencing, batch: Batch, is_known_of: Callable[[int], bool]) -> set[int]:
    """
    The accounts of what is new of a batch that are not in memory.

    Args:
        is_known_of: Whether an account is in memory, or waits for that.
    """
    runs = [run for run in batch.runs if isinstance(run, TradeRun | CashRun)]
    if not any(engine.unknown(run.account_id) for run in runs):
        return set()
    admission = sequencer.admit(batch)
    if admission.error is not None:
        return set()
    first_new = admission.first_new
    found: set[int] = set()
    start = 0
    for run in batch.runs:
        if isinstance(run, TradeRun | CashRun) and start + len(run) > first_new:
            for index in engine.unknown(run.account_id):
                account_id = run.account_id.item(index)
                is_new = start + index >= first_new and start + index not in batch.refusals
                if is_new and not is_known_of(account_id):
                    found.add(account_id)
        start += len(run)
    return found


def in_flows(engine: Engine, batch: Batch) -> set[int]:
    """The accounts of those flows of a batch among which one is heeded, or not known."""
    found: set[int] = set()
    for run in batch.runs:
        if isinstance(run, CashRun) and engine.heeds_any(run.account_id):
            found.update(run.account_id.tolist())
    return found
