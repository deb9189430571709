"""How a session decides: one frozen dataclass per room of the configuration that it reads.

The annotations carry each key's range and meaning; the configuration checks them and
``docs/configuration.md`` prints them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from msgspec import Meta

from alfred_voice.models.spoken import PATTERN, SHAPE


@dataclass(frozen=True, slots=True)
class VadOptions:
    """Where speech begins and ends."""

    engine: Annotated[str, Meta(description="voice activity detector: silero, or scripted in tests")] = "silero"
    threshold: Annotated[float, Meta(ge=0.0, le=1.0, description="probability from which a window is speech")] = 0.5
    negative_threshold: Annotated[
        Annotated[float, Meta(ge=0.0, le=1.0)] | None,
        Meta(description="probability below which silence begins; threshold - 0.15 when absent"),
    ] = None
    min_speech_ms: Annotated[int, Meta(ge=0, le=5000, description="speech shorter than this is taken for noise")] = 96
    min_silence_ms: Annotated[int, Meta(ge=32, le=10000, description="silence that ends a stretch of speech")] = 200
    pre_roll_ms: Annotated[
        int, Meta(ge=0, le=2000, description="audio before the first speech window that belongs to it")
    ] = 300
    endpoint_ms: Annotated[
        int, Meta(ge=32, le=30000, description="silence that ends an utterance when turns are off")
    ] = 600
    reset_after_ms: Annotated[
        int,
        Meta(
            ge=0, le=600000, description="clear non-speech after which the detector's state is made fresh; 0 for never"
        ),
    ] = 5000

    def __post_init__(self) -> None:
        if self.negative_threshold is not None and self.negative_threshold >= self.threshold:
            raise ValueError(
                f"negative_threshold ({self.negative_threshold}) must be below threshold ({self.threshold})"
            )
        if self.min_silence_ms > self.endpoint_ms:
            raise ValueError(
                f"min_silence_ms ({self.min_silence_ms}) must not be above endpoint_ms ({self.endpoint_ms})"
            )

    @property
    def lower_threshold(self) -> float:
        """The probability below which silence begins: as set, or 0.15 under the upper one (Silero's rule)."""
        return max(self.threshold - 0.15, 0.01) if self.negative_threshold is None else self.negative_threshold


@dataclass(frozen=True, slots=True)
class SttOptions:
    """How speech becomes text."""

    engine: Annotated[
        str,
        Meta(description="recogniser: moonshine; whisper; openai, which is any server of its kind; scripted in tests"),
    ] = "moonshine"
    more_engines: Annotated[
        str,
        Meta(
            max_length=200,
            description="further recognisers, with commas between them, that a client may ask for by engine in start; "
            "all are loaded",
        ),
    ] = ""
    final_model: Annotated[
        Annotated[str, Meta(min_length=1)] | None,
        Meta(description="model for finals, such as whisper-base.en; null for whisper-base with whisper"),
    ] = None
    partial_model: Annotated[
        Annotated[str, Meta(min_length=1)] | None,
        Meta(
            description="quicker model for partials, and for finals at reduced quality: whisper-tiny.en, moonshine; "
            "null for the same as for finals"
        ),
    ] = None
    language: Annotated[
        str,
        Meta(
            max_length=35,
            pattern=PATTERN,
            extra={"range": SHAPE},
            description="language when a client names none; auto where the recogniser finds out",
        ),
    ] = "en"
    partial_interval_ms: Annotated[
        int, Meta(ge=0, le=10000, description="speech between two partials; 0 for no partials")
    ] = 200
    min_partial_ms: Annotated[int, Meta(ge=0, le=10000, description="speech before the first partial")] = 500
    speculate_ms: Annotated[
        int, Meta(ge=32, le=2000, description="silence after which the final is decoded ahead of the endpoint")
    ] = 96
    tail_ms: Annotated[
        int, Meta(ge=0, le=1000, description="audio after the last speech window that is recognised with it")
    ] = 96
    max_window_ms: Annotated[
        int,
        Meta(ge=5000, le=60000, description="speech without a pause that is recognised in one piece before it is cut"),
    ] = 12000
    min_voiced_ms: Annotated[
        int, Meta(ge=0, le=5000, description="an utterance with less speech than this has no words")
    ] = 128
    words: Annotated[
        bool,
        Meta(description="tell of each word in a final when it was said, where the recogniser can; a little slower"),
    ] = False

    def __post_init__(self) -> None:
        # The final is decoded as soon as speculate_ms of silence are there: it cannot include more than that.
        if self.tail_ms > self.speculate_ms:
            raise ValueError(f"tail_ms ({self.tail_ms}) must not be above speculate_ms ({self.speculate_ms})")


@dataclass(frozen=True, slots=True)
class TurnOptions:
    """When the speaker is done."""

    engine: Annotated[str, Meta(description="end-of-turn model: smart_turn, or scripted in tests")] = "smart_turn"
    threshold: Annotated[float, Meta(ge=0.0, le=1.0, description="probability from which a turn is complete")] = 0.5
    silence_ms: Annotated[int, Meta(ge=32, le=5000, description="silence at which the model is asked first")] = 200
    recheck_ms: Annotated[int, Meta(ge=64, le=5000, description="further silence at which it is asked again")] = 300
    max_silence_ms: Annotated[
        int, Meta(ge=200, le=30000, description="silence that completes a turn whatever the model says")
    ] = 2000

    def __post_init__(self) -> None:
        if self.silence_ms > self.max_silence_ms:
            raise ValueError(f"silence_ms ({self.silence_ms}) must not be above max_silence_ms ({self.max_silence_ms})")


@dataclass(frozen=True, slots=True)
class InterruptionOptions:
    """When the speaker's voice stops the daemon's."""

    enabled: Annotated[bool, Meta(description="speech over the daemon's own speech stops it")] = True
    min_speech_ms: Annotated[int, Meta(ge=32, le=5000, description="speech that counts as an interruption")] = 100


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """All that a session's logic reads."""

    vad: VadOptions = field(default_factory=VadOptions)
    stt: SttOptions = field(default_factory=SttOptions)
    turn: TurnOptions = field(default_factory=TurnOptions)
    interruption: InterruptionOptions = field(default_factory=InterruptionOptions)
