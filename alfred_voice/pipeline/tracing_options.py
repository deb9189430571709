"""Whether and where traces go: the room ``tracing`` of the configuration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlsplit

from msgspec import Meta


@dataclass(frozen=True, slots=True)
class TracingOptions:
    """Traces of turns, for OpenTelemetry; needs the extra ``otel``."""

    enabled: Annotated[
        bool, Meta(description="export a span for each turn; needs .venv/bin/pip install -e '.[otel]'")
    ] = False
    endpoint: Annotated[
        str, Meta(min_length=8, max_length=2000, description="OTLP address over HTTP, up to and with /v1/traces")
    ] = "http://127.0.0.1:4318/v1/traces"
    service_name: Annotated[str, Meta(min_length=1, max_length=100, description="service that the spans name")] = (
        "alfred-voice"
    )
    sample_ratio: Annotated[
        float, Meta(ge=0, le=1, description="share of turns that are exported, where the client's trace does not say")
    ] = 1.0

    def __post_init__(self) -> None:
        parts = urlsplit(self.endpoint)
        if parts.scheme not in {"https", "http"} or not parts.hostname or "@" in parts.netloc:
            raise ValueError("endpoint: expected an address such as https://host:4318/v1/traces, without a password")
