"""
The log room: NATS JetStream behind the seams of ``evs_server.cluster.ports``. Touches I/O; no other room imports nats.

``open_log`` is the whole of it. Below: ``connect`` (one connection, however often it is lost), ``streams`` (what the
log and the last values are kept in), ``append`` and ``follow`` (writing and reading the log), ``news`` and ``asks``
(talk that is not kept), ``last`` (the newest valuation of each account), ``embedded`` (a server of our own).
"""

from evs_server.log.embedded import EmbeddedNats
from evs_server.log.opened import Log, open_log

__all__ = ["EmbeddedNats", "Log", "open_log"]
