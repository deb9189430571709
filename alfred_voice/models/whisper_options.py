"""How Whisper decodes, and when it does not believe itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec import Meta


_TEMPERATURE_STEP = 0.2


@dataclass(frozen=True, slots=True)
class WhisperOptions:
    """How Whisper decodes, and on what."""

    device: Annotated[
        str,
        Meta(
            pattern="^(?i:auto|cpu|cuda(:[0-9]+)?|openvino(:[a-z0-9._-]+)?)$",
            extra={"range": "auto, cpu, cuda, cuda:1, openvino, openvino:GPU and the like"},
            description="what computes: cpu; cuda or cuda:1; openvino, openvino:GPU, openvino:NPU; auto for a graphics "
            "card that is there, else the processor; what is not there gives way to the processor",
        ),
    ] = "auto"
    precision: Annotated[
        Literal["int8", "float16", "float32"] | None,
        Meta(description="int8, float16 or float32; null for what the device does best of what is here"),
    ] = None
    task: Annotated[Literal["transcribe", "translate"], Meta(description="transcribe, or translate into English")] = (
        "transcribe"
    )
    prompt: Annotated[
        str, Meta(max_length=2000, description="what it takes for the text before: names, words to be expected")
    ] = ""
    max_temperature: Annotated[
        float,
        Meta(
            ge=0.0,
            le=1.0,
            description="how freely tokens may be drawn at last, in steps of 0.2, until a final can be believed; "
            "partials are not tried again",
        ),
    ] = 0.4
    max_compression: Annotated[
        float, Meta(gt=1.0, description="a text that can be compressed more than that repeats itself")
    ] = 2.4
    min_log_probability: Annotated[
        float, Meta(le=0.0, description="mean logarithm of the tokens' probabilities below which a text is doubtful")
    ] = -1.0
    max_no_speech: Annotated[
        float, Meta(ge=0.0, le=1.0, description="probability of no speech above which a doubtful text is none")
    ] = 0.6
    with_timestamps: Annotated[
        bool, Meta(description="let finals tell times of their own; slower, and not needed for words' times")
    ] = False

    @property
    def temperatures(self) -> tuple[float, ...]:
        """Those of the attempts, one after the other."""
        steps = int(self.max_temperature / _TEMPERATURE_STEP + 1e-9)
        return tuple(round(step * _TEMPERATURE_STEP, 1) for step in range(steps + 1))
