"""
The workshop: accounts, positions and marks as integer columns, and what events and ticks do to them. Pure.

``Engine`` is the door. Inside, from the bottom up: ``compiled`` (loops as machine code), ``arithmetic`` (the only
multiplications of cents), ``accounting`` (a fill), ``rowset``, ``tables``, ``index`` and ``book`` (rows, and the ways
between them), ``opening`` (how an account begins), ``bounds`` (what must be refused), ``passes`` and ``valuation`` (a
pass), ``changes`` (live numbers written and marked), ``trading`` (runs of events), ``correction`` (brought to where the
exchange's tables have them), ``state`` (keeping), ``views`` (reading), ``events`` (what they do), ``session`` (the
exchange's day), ``growth`` (what was made from close to close).
"""

from evs_server.engine.engine import Engine
from evs_server.engine.session import SessionCalendar

__all__ = ["Engine", "SessionCalendar"]
