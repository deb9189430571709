"""What is made of finished transcripts by a language model: the options."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta

from alfred_voice.models.openai_options import check_base_url


@dataclass(frozen=True, slots=True)
class PostProcessingOptions:
    """What is made of a finished transcript, and by whom; off unless something is asked for."""

    punctuate: Annotated[bool, Meta(description="repair punctuation and capital letters of transcripts")] = False
    summarise: Annotated[bool, Meta(description="summarise transcripts")] = False
    base_url: Annotated[
        str, Meta(max_length=2000, description="language model's server, up to and with /v1; https or http")
    ] = ""
    model: Annotated[str, Meta(max_length=200, description="language model that the server is asked for")] = ""
    api_key_env: Annotated[
        str, Meta(max_length=100, description="environment variable with the server's key; empty for no key")
    ] = "ALFRED_CHAT_API_KEY"
    timeout_s: Annotated[float, Meta(ge=0.1, le=600, description="longest that one answer may take")] = 60.0
    total_timeout_s: Annotated[
        float, Meta(ge=0.1, le=3600, description="longest that all answers about one transcript may take")
    ] = 300.0
    max_retries: Annotated[int, Meta(ge=0, le=10, description="further attempts after one that failed in passing")] = 2
    max_chars: Annotated[
        int, Meta(ge=500, le=200000, description="most characters of a transcript in one question")
    ] = 8000
    max_tokens: Annotated[int, Meta(ge=64, le=32768, description="most tokens of a summary")] = 2048

    def __post_init__(self) -> None:
        if self.base_url:
            check_base_url(self.base_url)
        if self.is_on and not (self.base_url and self.model):
            raise ValueError("base_url and model: expected both where punctuate or summarise is on")

    @property
    def is_on(self) -> bool:
        """Whether anything is asked for."""
        return self.punctuate or self.summarise
