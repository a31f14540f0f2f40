"""
Which events of a run are a plain change of the books: those go through the engine many at a time. Pure.

Lives here: what of a run must be taken event by event, and when. Not here: what is done with such an event
(``intake``), and what a kernel does with the others (``engine.trading``). Invariant: events take effect in their order,
whichever way they are taken.

A worked example: of a run of a thousand trades, the account of the tenth waits for its announcements. Nine go through
the kernel, which stops there; the tenth is handed out; then the kernel is given the other 990.
"""

from collections.abc import Callable, Iterator
from typing import Final

import numpy as np

from evs_server.engine import Engine
from evs_server.ingest.course import Course
from evs_server.ingest.retries import Retries, RunRetries
from evs_server.model import BoolArray, CashRun, ObservedRun, PriceRun, Run, TradeRun

RUN_MIN: Final = 4
"""A shorter run costs less one by one."""


def apart_rows(engine: Engine, retries: Retries, run: Run, course: Course, start: int, first: int) -> Iterator[int]:
    """
    The events of a run to be taken by themselves, each when all before it are applied.

    Args:
        retries: Takes note of those that are applied on the way.
        course: Takes note of whether any was applied on the way.
        start: Where in its batch the run begins.
        first: Its first event that is new.
    """
    apply = _kernel(engine, run, course.now_ms)
    of_run = None if apply is None else _retries(retries, run, course)
    apart, is_known = _apart(run, course, start, of_run), False
    at = first
    while at < len(run):
        if apply is not None and (apart is None or not apart[at]):
            end = apply(apart, at)
            course.changed = course.changed or end > at
            if of_run is not None:
                of_run.note_applied(at, end)
            if end < len(run) and not is_known and isinstance(run, TradeRun | CashRun):
                # Most runs go through, and need not be asked what would stop them; of others, once is enough.
                heeded, is_known = engine.heeded(run), True
                apart = heeded if apart is None else apart | heeded
            at = end
        if at < len(run):
            yield at
        at += 1


def _kernel(engine: Engine, run: Run, now_ms: int) -> Callable[[BoolArray | None, int], int] | None:
    """What applies a run from one event on, up to the next to be taken by itself; none for a run of few events."""
    if len(run) < RUN_MIN:
        return None
    if isinstance(run, TradeRun):
        return lambda apart, first: engine.apply_trades(run, apart, first, now_ms)
    if isinstance(run, PriceRun):
        return lambda apart, first: engine.apply_prices(run, apart, first, now_ms)
    if isinstance(run, ObservedRun):
        return lambda _, first: engine.observe_prices(run, first, now_ms)
    if isinstance(run, CashRun):
        return lambda apart, first: engine.apply_flows(run, apart, first)
    return None


def _retries(retries: Retries, run: Run, course: Course) -> RunRetries | None:
    """What of a run may be a repeat; of a sender that numbers its events, the number alone says so."""
    is_numbered = course.batch.first_sequence > 0
    return retries.of_run(run) if isinstance(run, TradeRun) and not is_numbered and run.settlement_id.any() else None


def _apart(run: Run, course: Course, start: int, retries: RunRetries | None) -> BoolArray | None:
    """By event of a run, whether its batch already says that it is not, or not only, a change of the books."""
    batch, count = course.batch, len(run)
    repeated = None if retries is None else retries.apart
    is_named = isinstance(run, TradeRun | CashRun) and bool(course.refused)
    if not (batch.refusals or is_named):
        return repeated
    apart = np.zeros(count, np.bool_) if repeated is None else repeated
    apart[[index - start for index in batch.refusals if 0 <= index - start < count]] = True
    if isinstance(run, TradeRun | CashRun) and is_named:
        apart |= np.isin(run.account_id, list(course.refused))
    return apart
