"""
How a process is watched from outside: its log lines (``logs``, ``trace``) and its numbers (``exposition``, ``lag``).

Lives here: what EVS and the bridge have in common. Not here: which numbers there are (``metrics``, ``bridge.metrics``).
"""

from evs_server.telemetry.logs import QUIET_LIBRARIES, configure

__all__ = ["QUIET_LIBRARIES", "configure"]
