"""When sessions roll in tests whose EVS goes by the real clock: not while they run, and not while markets are open."""

from datetime import UTC, datetime
from typing import Final

FAR_ROLL: Final = "00:00" if 4 <= datetime.now(UTC).hour < 20 else "10:00"
"""A time of day, as ``EVS_SESSION_ROLL`` has it; prints that are replayed are of 13:30 to 20:00."""
