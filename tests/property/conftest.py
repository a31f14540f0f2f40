"""
How long hypothesis searches: ``quick`` for every run, ``thorough`` when ``EVS_HYPOTHESIS_PROFILE`` asks for it.

Seeds are not fixed, so that each run looks elsewhere; a failure prints the blob that reproduces it.
"""

import os

from hypothesis import HealthCheck, settings

# Examples are long sequences of events on purpose, which hypothesis would call slow to generate.
_COMMON = settings(
    deadline=None,
    derandomize=False,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

settings.register_profile("quick", _COMMON, max_examples=100, stateful_step_count=30)
settings.register_profile("thorough", _COMMON, max_examples=1_000, stateful_step_count=100)
settings.load_profile(os.environ.get("EVS_HYPOTHESIS_PROFILE", "quick"))
