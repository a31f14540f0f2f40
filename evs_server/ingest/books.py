"""
Our side of reconciliation, as the process has it: live numbers, and corrections through the intake. Reads the clock.

Lives here: what counts as quiet. Not here: when and what to correct (``reconcile``).
"""

from collections.abc import Callable, Mapping, Sequence

from evs_server.clock import Clock
from evs_server.engine import Engine
from evs_server.ingest.clearing import Clearing
from evs_server.ingest.intake import Intake
from evs_server.ingest.sequencer import Sequencing
from evs_server.model import Change, Correction, Holdings, Ledger, SettledTrade


class Books:
    """
    A ``ports.Books`` of the running process.

    Args:
        on_change: Told of each correction; sees to it that it is flushed soon.
    """

    def __init__(
        self,
        engine: Engine,
        sequencer: Sequencing,
        clearing: Clearing,
        intake: Intake,
        clock: Clock,
        on_change: Callable[[], None],
    ) -> None:
        self._engine = engine
        self._sequencer = sequencer
        self._clearing = clearing
        self._intake = intake
        self._clock = clock
        self._on_change = on_change

    def account_ids(self) -> Sequence[int]:
        """All accounts in memory."""
        ids: list[int] = self._engine.account_ids().tolist()
        return ids

    def holdings(self, account_id: int) -> Holdings | None:
        """An account's live numbers, or None if it is not in memory."""
        return self._engine.corrections.holdings(account_id)

    def is_quiet(self, account_id: int) -> bool:
        """
        Whether nothing of a known account is under way.

        Trades it was loaded with and that are still to be announced do not count: the books have them, and the tables.
        """
        return not self._engine.corrections.is_dirty(account_id) and not self._clearing.parked.holds(account_id)

    def watermarks(self) -> Mapping[str, tuple[int, int, int]]:
        """Epoch, applied and durable sequence of each source."""
        return {
            source: (state.epoch, state.applied_sequence, state.durable_sequence)
            for source, state in self._sequencer.states().items()
        }

    def applied_trades(self, account_id: int, trades: Sequence[SettledTrade]) -> set[int]:
        """Ids of those of an account's trades that are known to be in its books."""
        return self._clearing.applied_ids(account_id, trades)

    def correct(self, correction: Correction, theirs: Ledger) -> Sequence[Change]:
        """
        Apply a correction, whole; it is flushed soon.

        Raises:
            OutOfBounds: If it would take the account out of bounds; nothing has changed then.
        """
        changes = self._intake.correct(correction, theirs, self._clock.now_ms())
        self._on_change()
        return changes
