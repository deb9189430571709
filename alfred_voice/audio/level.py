"""How loud samples are."""

from __future__ import annotations

import math

import numpy as np

from alfred_voice.audio.pcm import FULL_SCALE, Int16


SILENCE_DBFS = -120.0
"""What digital silence and no sample at all count as; one unit in 16 bit is -90 dBFS."""


def rms_dbfs(samples: Int16) -> float:
    """Root mean square of int16 samples, shape (n,); 0 dBFS is a square wave at full scale."""
    if not len(samples):
        return SILENCE_DBFS
    wide = samples.astype(np.float64)
    power = float(np.dot(wide, wide)) / (len(samples) * FULL_SCALE**2)
    return max(SILENCE_DBFS, 10.0 * math.log10(power)) if power else SILENCE_DBFS
