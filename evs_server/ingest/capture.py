"""
What the next flush is made of, and when it carries a checkpoint. Pure.

Lives here: counting, and putting together what the rooms have changed. Not here: when a flush is due (``intake``), and
which snapshots of a pass are stored (``keeping``).
"""

from evs_server.engine import Engine
from evs_server.ingest.clearing import Clearing
from evs_server.ingest.keeping import Keeping
from evs_server.ingest.sequencer import Sequencing
from evs_server.limits import CHECKPOINT_ROWS_MIN, CHECKPOINT_ROWS_PER_ACCOUNT
from evs_server.model import Flush, Recovered, Valuation


class Capture:
    """
    Everything that no flush holds yet.

    Args:
        keeping: Says what is stored of each pass.
    """

    def __init__(self, engine: Engine, sequencer: Sequencing, clearing: Clearing, keeping: Keeping) -> None:
        self._engine = engine
        self._sequencer = sequencer
        self._clearing = clearing
        self._keeping = keeping
        self._flush_number = 0
        self._event_count = 0
        self._rows: list[Valuation] = []
        self._row_count = 0
        self._rows_since_checkpoint = 0

    def restore(self, recovered: Recovered) -> None:
        """Count on from what was committed last."""
        self._flush_number = recovered.flush_number
        self._rows_since_checkpoint = recovered.rows_since_checkpoint
        self._keeping.restore(recovered.latest)

    @property
    def row_count(self) -> int:
        """How many snapshots the next flush stores."""
        return self._row_count

    def add_events(self, count: int) -> None:
        """Take note of events that have been applied."""
        self._event_count += count

    def add_pass(self, valuation: Valuation) -> None:
        """Take what is stored of a pass; a start has no more than that to read again."""
        for kept in self._keeping.keep(valuation):
            self._rows.append(kept)
            self._row_count += len(kept)

    def flush(self) -> Flush:
        """All of it, as of this moment; nothing is left."""
        self._flush_number += 1
        self._rows_since_checkpoint += self._row_count
        checkpoint = self._rows_since_checkpoint >= max(
            CHECKPOINT_ROWS_MIN, CHECKPOINT_ROWS_PER_ACCOUNT * self._engine.account_count
        )
        flush = Flush(
            number=self._flush_number,
            event_count=self._event_count,
            state=self._engine.capture(),
            rows=tuple(self._rows),
            watermarks=self._sequencer.capture(),
            latest=self._engine.latest_snapshots() if checkpoint else None,
            corrections=self._engine.corrections.capture(),
            **self._clearing.capture()._asdict(),
        )
        self._rows_since_checkpoint = 0 if checkpoint else self._rows_since_checkpoint
        self._rows, self._row_count, self._event_count = [], 0, 0
        return flush
