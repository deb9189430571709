"""Which stretches are recognised in one call, so that all workers are busy and no call pads much."""

from __future__ import annotations

from collections.abc import Sequence

from alfred_voice.files.stretches import Stretch
from alfred_voice.models.engine import SAMPLE_RATE


BATCH_SAMPLES = 60 * SAMPLE_RATE
"""Audio in one call of the recogniser: beyond it a batch takes memory and saves no more time."""


def plan_round(stretches: Sequence[Stretch], workers: int, max_clips: int) -> list[list[int]]:
    """Batches of stretches of similar length, by their places; one at least for each worker, if there are so many.

    The longest come first: what is left to do at the end is then little.

    Args:
        stretches: what is to be recognised.
        workers: how many batches are worked on at a time.
        max_clips: the most in one batch.
    """
    by_length = sorted(range(len(stretches)), key=lambda at: -len(stretches[at].samples))
    whole = sum(len(stretch.samples) for stretch in stretches)
    share = min(BATCH_SAMPLES, -(-whole // workers))
    batches: list[list[int]] = []
    length = 0
    for at in by_length:
        samples = len(stretches[at].samples)
        if not batches or len(batches[-1]) == max_clips or length + samples > share:
            batches.append([])
            length = 0
        batches[-1].append(at)
        length += samples
    return batches
