"""When sessions roll in tests whose EVS goes by the real clock: not while they run, whatever time it is."""

from datetime import UTC, datetime, timedelta
from typing import Final

FAR_ROLL: Final = (datetime.now(UTC) + timedelta(hours=12)).strftime("%H:%M")
"""A time of day, as ``EVS_SESSION_ROLL`` has it."""
