"""
The simulation's worlds, with hypothesis choosing what happens next: it looks for the shortest history that goes wrong.

The steps are those of ``tests/simulation/world.py``: settle, pay and register; deliver, repeat, drop and reorder; tick,
quote and roll; write with commits that are lost or unknown, flush, crash and start again; read accounts; let the clock
step.
"""

from typing import get_args

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from evs_server.ingest.keeping import Policy
from tests.simulation.world import World

STEPS = [
    *("settle", "pay", "register", "quote", "end_tick", "blunder"),
    *("tell", "tell_plainly", "intrude", "begin_epoch"),
    *("write", "flush", "crash", "look", "take_up", "look_again", "subscribe", "pass_time", "roll"),
]


class Worlds(RuleBasedStateMachine):
    @initialize(seed=st.integers(0, 2**32), policy=st.sampled_from(get_args(Policy)))
    def begin(self, seed: int, policy: Policy) -> None:
        """The seed decides amounts and outcomes; hypothesis decides the order of steps, and what is stored."""
        self.world = World(seed, policy)

    @rule(step=st.sampled_from(STEPS), times=st.integers(1, 3))
    def happen(self, step: str, times: int) -> None:
        for _ in range(times):
            self.world.do(getattr(self.world, step))

    def teardown(self) -> None:
        """Whatever happened, it heals."""
        self.world.finish()


TestWorlds = Worlds.TestCase
TestWorlds.settings = settings(
    deadline=None,
    max_examples=100,
    stateful_step_count=30,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
