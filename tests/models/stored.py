"""What tests of the model store have in common."""

from __future__ import annotations

from alfred_voice.models.catalog import Package


PACKAGE = Package("tiny-model", "1.2", 10_000)
ENCODER, DECODER = b"encoder" * 50_000, b"decoder" * 1_000
