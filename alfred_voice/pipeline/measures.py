"""What is given up on each rung of the ladder, in one table."""

from __future__ import annotations

from dataclasses import dataclass

from alfred_voice.pipeline.backpressure import Rung
from alfred_voice.session.economy import Economy


@dataclass(frozen=True, slots=True)
class Measures:
    """What the daemon does without; the defaults are those of a daemon that is well."""

    partial_factor: float = 1.0
    """By how much the interval between partials is longer than configured; 0 for no partials."""
    partial_share: float = 1.0
    """Of a recogniser's time, what partials may have at most. Those who have waited longest come first."""
    recheck_factor: float = 1.0
    """By how much longer a pause has to go on before the turn model is asked about it again."""
    smaller_model: bool = False
    """Finals are recognised by the smaller model, where there are two."""
    drops_frames: bool = False
    """Silence that waits is dropped, and what a session cannot hold any more."""
    prefetches: bool = True
    """Finals are decoded ahead of the endpoint."""
    admits: bool = True
    """New sessions are let in."""

    def economy(self, pace: float) -> Economy:
        """What a session does about it.

        Args:
            pace: by how much partials come less often anyway, as the recogniser is busy.
        """
        factor = max(self.partial_factor, pace) if self.partial_factor else 0.0
        return Economy(partial_factor=factor, recheck_factor=self.recheck_factor, speculates=self.prefetches)


MEASURES: dict[Rung, Measures] = {
    Rung.NONE: Measures(),
    Rung.SLOWER_PARTIALS: Measures(partial_factor=2),
    Rung.RARE_PARTIALS: Measures(partial_factor=4, recheck_factor=2, smaller_model=True),
    Rung.RATIONED_PARTIALS: Measures(
        partial_factor=4, partial_share=0.25, recheck_factor=2, smaller_model=True, prefetches=False
    ),
    Rung.DROP_FRAMES: Measures(
        partial_factor=4, partial_share=0.1, recheck_factor=2, smaller_model=True, prefetches=False, drops_frames=True
    ),
    Rung.PAUSE_PROCESSING: Measures(
        partial_factor=0, recheck_factor=2, smaller_model=True, drops_frames=True, prefetches=False, admits=False
    ),
}
