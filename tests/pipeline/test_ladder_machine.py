"""Whatever the load and however long it lasts, the ladder keeps its promises."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from alfred_voice.pipeline.backpressure import MOST_PATIENCE, Ladder, Rung
from alfred_voice.pipeline.options import BackpressureOptions


seconds = st.integers(0, 20).map(lambda halves: halves / 2)


class LadderMachine(RuleBasedStateMachine):
    """Loads at any times, and options that may change on the way."""

    @initialize(up=seconds, down=seconds)
    def set_up(self, up: float, down: float) -> None:
        self.options = BackpressureOptions(step_up_s=up, step_down_s=down)
        self.ladder = Ladder(self.options)
        self.now = 0.0
        self.changed_at = float("-inf")
        self.loads: list[tuple[float, float]] = []

    @rule(load=st.floats(0, 1), wait=st.sampled_from([0.0, 0.1, 0.1, 0.5, 3.0, 60.0]) | st.floats(0, 20))
    def measure(self, load: float, wait: float) -> None:
        self.now += wait
        before = self.ladder.rung
        after = self.ladder.update(load, self.now)
        self.loads.append((self.now, load))
        assert after is self.ladder.rung
        assert abs(after - before) <= 1, "more than one rung at a time"
        # A stay of half a second is five measures of a tenth, give or take a rounding.
        stay = self.now - self.changed_at + 1e-6
        if after > before:
            assert load >= self.options.threshold
            assert stay >= self.options.step_up_s, "the least stay"
        if after < before:
            assert load < self.options.recovery
            pace = 0.5 if load < self.options.recovery / 2 else 1.0
            assert stay >= self.options.step_down_s * pace, "the least calm"
        if after is not before:
            self.changed_at = self.now

    @rule(count=st.integers(1, 40), load=st.floats(0, 1))
    def goes_on(self, count: int, load: float) -> None:
        """Ten times a second, as the daemon measures."""
        for _ in range(count):
            self.measure(load, 0.1)

    @rule(down=seconds)
    def reconfigure(self, down: float) -> None:
        self.options = BackpressureOptions(step_up_s=self.options.step_up_s, step_down_s=down)
        self.ladder.reconfigure(self.options)

    @invariant()
    def it_climbs_only_where_load_is_high(self) -> None:
        if hasattr(self, "ladder") and self.loads and self.ladder.is_climbing(self.now):
            assert self.ladder.rung > Rung.NONE
            assert self.loads[-1][1] >= self.options.threshold

    def teardown(self) -> None:
        """In the end load is gone: each rung takes at most its calm, the most patience included."""
        if not hasattr(self, "ladder"):
            return
        longest = self.options.step_down_s * MOST_PATIENCE
        for _ in range(len(Rung) - 1):
            before = self.ladder.rung
            self.measure(0.0, 0.0)
            self.measure(0.0, longest + 0.1)
            assert self.ladder.rung < before or before is Rung.NONE
        assert self.ladder.rung is Rung.NONE


TestLadderMachine = LadderMachine.TestCase
TestLadderMachine.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
