"""
The workshop: accounts, positions and marks as integer columns, and what events and ticks do to them. Pure.

``Engine`` is the door. Inside, from the bottom up: ``arithmetic`` (the only multiplications of cents), ``accounting``
(a fill), ``tables`` (rows that grow), ``opening`` (how an account begins), ``bounds`` (what must be refused),
``valuation`` (a pass), ``changes`` (live numbers written and marked), ``correction`` (brought to where the exchange's
tables have them), ``state`` (keeping), ``views`` (reading), ``session`` (the exchange's day).
"""

from evs_server.engine.engine import Engine
from evs_server.engine.session import SessionCalendar

__all__ = ["Engine", "SessionCalendar"]
