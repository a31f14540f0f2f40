"""
Which valuations count: an account's stored past and, where it ends now, what is not stored yet. Pure.

The running session counts from its base. If that is the close of the session before, it may be the engine's alone: rows
are stored a moment later. So the past is read first, and continued by what it does not have.
"""

from dataclasses import replace

from evs_server.engine.growth import Performance, performance
from evs_server.model import Close, Past, StoredValuation


def made(past: Past, last: StoredValuation, session_ms: int) -> Performance:
    """
    What an account has made.

    Args:
        past: Its stored past, which may be continued.
        last: Its last valuation that counts.
        session_ms: When the session of that one began.
    """
    start = past.start.close
    since = past.closes[-1] if past.closes else start
    begins_in_session = past.begins and not past.closes
    closes_in_session = (past.closes or past.starts_with_close) and since.time_ms == session_ms
    # That session's own base, wherever it is known: a recompute may have moved it. From the middle of a session on, and
    # where its roll is missing, what counts is the valuation before.
    last_base_cents = last.base_cents if begins_in_session or closes_in_session else since.profit_cents
    return performance(
        start,
        past.closes,
        past.minutes,
        last.close,
        first_base_cents=past.first_base_cents if past.closes else last_base_cents,
        last_base_cents=last_base_cents,
    )


def made_until_now(past: Past | None, now: StoredValuation, base: Close | None, start_ms: int) -> Performance:
    """
    What an account has made from a moment until now.

    Args:
        past: Its stored past; None if nothing of that time is stored yet.
        now: Its newest valuation.
        base: What the running session counts from, stamped with the session's start; None if there is none.
        start_ms: Unix milliseconds.
    """
    session_ms = base.time_ms if base is not None else -1
    if past is None or max(now.time_ms, session_ms) < start_ms:
        alone = Past(
            start=now,
            begins=past is None,
            starts_with_close=False,
            closes=(),
            first_base_cents=now.close.profit_cents,
            minutes=(),
            last=now,
        )
        return made(alone, now, session_ms)
    if base is not None and _lacks(past, base):
        past = _continued(past, base, start_ms)
    return made(past, now, session_ms)


def _lacks(past: Past, base: Close) -> bool:
    """Whether the session began after everything that is stored of its accounts's closes, with the account there."""
    newest_ms = past.closes[-1].time_ms if past.closes else past.start.time_ms
    return newest_ms < base.time_ms


def _continued(past: Past, base: Close, start_ms: int) -> Past:
    minutes = tuple(minute for minute in past.minutes if minute.time_ms > base.time_ms)
    if base.time_ms <= start_ms:
        start = StoredValuation(base.time_ms, past.last.version, base.equity_cents, base.net_flow_cents, 0)
        return replace(past, start=start, begins=False, starts_with_close=True, minutes=minutes)
    # Of its first session, all that is stored tells the base; later ones count from the close before.
    first_base_cents = past.last.base_cents if past.begins and not past.closes else past.first_base_cents
    return replace(past, closes=(*past.closes, base), first_base_cents=first_base_cents, minutes=minutes)
