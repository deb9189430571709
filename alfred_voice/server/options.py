"""How the server listens: the room ``server`` of the configuration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """Address and limits of the door."""

    host: Annotated[str, Meta(min_length=1, description="address to listen on")] = "127.0.0.1"
    insecure: Annotated[
        bool, Meta(description="let other machines in although no key is configured; see docs/security.md")
    ] = False
    port: Annotated[int, Meta(ge=0, le=65535, description="port; 0 for any free one")] = 8015
    max_message_bytes: Annotated[int, Meta(ge=4096, le=268435456, description="largest WebSocket message")] = 1_048_576
    max_upload_bytes: Annotated[int, Meta(ge=4096, le=4294967296, description="largest upload over HTTP")] = 26_214_400
    grace_s: Annotated[
        float, Meta(ge=0, le=600, description="time that sessions and recordings get to finish at shutdown")
    ] = 10.0
    heartbeat_s: Annotated[float, Meta(ge=1, le=3600, description="how often an idle WebSocket is pinged")] = 25.0
    request_timeout_s: Annotated[float, Meta(ge=1, le=3600, description="longest that one HTTP request may take")] = (
        60.0
    )
    max_recordings: Annotated[
        int, Meta(ge=1, le=64, description="recordings that are transcribed at a time; others get 503 with Retry-After")
    ] = 1
    recording_workers: Annotated[
        int, Meta(ge=1, le=64, description="threads that recognise one recording, behind the live sessions")
    ] = 1
    max_recording_bytes: Annotated[
        int, Meta(ge=4096, le=1099511627776, description="largest recording to be transcribed")
    ] = 1_073_741_824
    max_recording_s: Annotated[float, Meta(ge=1, le=604800, description="longest recording to be transcribed")] = (
        28_800.0
    )
    recording_timeout_s: Annotated[
        float, Meta(ge=1, le=86400, description="longest that a recording may take to arrive")
    ] = 600.0
