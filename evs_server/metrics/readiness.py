"""
Whether EVS should be sent anything now, and if not, why, in words. Pure; one object, owned by ``app``.

Being alive is another matter: a process that is not ready is left running. Not ready are an EVS that does not serve
(yet, any more, or since another leads), one whose numbers once contradicted each other, and one that has not been able
to store what it applied for too long.
"""

from evs_server.engine import Engine
from evs_server.lifecycle import Lifecycle, Phase
from evs_server.store.writer import Writer

_NOT_SERVING = {
    Phase.FOLLOWING: "following: another EVS leads on the same database, and this one waits to take over",
    Phase.RECOVERING: "recovering: EVS reads its state, or waits for PostgreSQL",
    Phase.STOPPING: "stopping: EVS shuts down, or a newer start has fenced it off",
}


class Readiness:
    """
    Judges what the rooms say of themselves.

    Args:
        lifecycle: Says which phase the process is in.
        lag_seconds_max: How long what is applied may wait to be stored.
    """

    def __init__(self, lifecycle: Lifecycle, lag_seconds_max: int) -> None:
        self._lifecycle = lifecycle
        self._lag_seconds_max = lag_seconds_max
        self._engine: Engine | None = None
        self._writer: Writer | None = None

    def attach(self, engine: Engine, writer: Writer) -> None:
        """Take the rooms that are there once the state has been read."""
        self._engine, self._writer = engine, writer

    @property
    def numbers_agree(self) -> bool:
        """Whether no valuation of this process ever violated the identity of equity (DESIGN 3)."""
        return self._engine is None or not self._engine.identity_violation_count

    @property
    def is_storing(self) -> bool:
        """Whether EVS serves, and what it applies gets stored."""
        serving = self._lifecycle.phase is Phase.SERVING
        return serving and self._writer is not None and self._writer.degraded_since_ms is None

    def reasons(self) -> list[str]:
        """Why EVS is not ready, each in words; empty if it is."""
        reasons = []
        if self._lifecycle.phase is not Phase.SERVING:
            reasons.append(_NOT_SERVING[self._lifecycle.phase])
        if self._engine is not None and not self.numbers_agree:
            count = self._engine.identity_violation_count
            reasons.append(f"identity: {count} snapshots violate the identity of equity since this start")
        lag_seconds = 0 if self._writer is None else self._writer.statistics().oldest_age_ms // 1_000
        if lag_seconds > self._lag_seconds_max:
            reasons.append(
                f"storage: what was applied {lag_seconds} s ago is not stored yet; the most is {self._lag_seconds_max}"
            )
        return reasons
