"""The families of metrics that belong together, each in one object, so that its user needs no more than that.

A label never holds what a client chooses: its values are known beforehand, or come from the configuration.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


# A frame comes every 20 ms: the buckets are dense below that.
FRAME_BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5)
LANE_BUCKETS = (*FRAME_BUCKETS, 1.0, 2.0, 5.0)
"""A batch of long clips takes longer than a frame ever may."""
RESPONSE_BUCKETS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0)
LOOP_BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
FIRST_AUDIO_BUCKETS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0)
RATIO_BUCKETS = (0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0)
BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128)
CONNECT_BUCKETS = (0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0, 10.0, 20.0)
JITTER_BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)
# As OpenTelemetry advises for HTTP servers.
HTTP_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)


class LaneFamilies:
    """What is kept of every lane in the registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.up = Gauge("alfred_lane_up", "1 while a lane's engine works", ["lane"], registry=registry)
        self.age = Gauge(
            "alfred_lane_queue_age_seconds", "Age of a lane's oldest urgent job", ["lane"], registry=registry
        )
        self.batch_size = Histogram(
            "alfred_lane_batch_jobs", "Jobs in a batch", ["lane"], buckets=BATCH_BUCKETS, registry=registry
        )
        self.batch_seconds = Histogram(
            "alfred_lane_batch_seconds", "Time of a batch", ["lane"], buckets=LANE_BUCKETS, registry=registry
        )
        self.wait_seconds = Histogram(
            "alfred_lane_wait_seconds", "Longest wait in a batch", ["lane"], buckets=LANE_BUCKETS, registry=registry
        )
        self.failures = Counter(
            "alfred_lane_failures", "Jobs that an engine could not answer", ["lane"], registry=registry
        )
        self.restarts = Counter(
            "alfred_lane_restarts", "Engines made anew after they had failed", ["lane"], registry=registry
        )
        self.rows_failed = Counter(
            "alfred_lane_rows_failed", "Jobs that failed alone while others went well", ["lane"], registry=registry
        )
        self.timeouts = Counter(
            "alfred_lane_timeouts", "Calls of an engine that were given up", ["lane"], registry=registry
        )


class SpeechFamilies:
    """How quick the engines of text and speech are; ``engine`` is a name out of the configuration."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.first_audio = Histogram(
            "alfred_tts_time_to_first_audio_seconds",
            "From a text being asked for to its first audio",
            ["engine"],
            buckets=FIRST_AUDIO_BUCKETS,
            registry=registry,
        )
        self.real_time_factor = Histogram(
            "alfred_stt_real_time_factor_ratio",
            "Time of recognition for a final's whole utterance, against the utterance's length",
            ["engine"],
            buckets=RATIO_BUCKETS,
            registry=registry,
        )


class DoorFamilies:
    """What is seen at the door."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.closed = Counter(
            "alfred_ws_close", "WebSockets closed, by close code; 1006 where none came", ["code"], registry=registry
        )
        self.requests = Histogram(
            "http_request_duration_seconds",
            "HTTP requests by the route's template, WebSockets and the monitor's feed apart",
            ["method", "route", "code"],
            buckets=HTTP_BUCKETS,
            registry=registry,
        )
        self.monitor = Counter(
            "alfred_monitor_seconds", "Processor time that those who look at the monitor have cost", registry=registry
        )
        self.recordings = Counter(
            "alfred_recordings", "Whole recordings by what became of them", ["outcome"], registry=registry
        )


class WebRtcFamilies:
    """What is seen of connections over WebRTC."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.connections = Counter(
            "alfred_webrtc_connections", "WebRTC connections by how they ended", ["outcome"], registry=registry
        )
        self.connect_seconds = Histogram(
            "alfred_webrtc_connect_seconds",
            "From the answer to an offer to the connection's standing",
            buckets=CONNECT_BUCKETS,
            registry=registry,
        )
        self.packets = Counter(
            "alfred_webrtc_packets",
            "Packets of audio that came, were lost, were too late, too many or not to be decoded",
            ["fate"],
            registry=registry,
        )
        self.filled = Counter(
            "alfred_webrtc_filled_seconds", "Silence put in for audio that was missing", registry=registry
        )
        self.jitter = Histogram(
            "alfred_webrtc_jitter_seconds",
            "How unevenly audio comes (RFC 3550), each second of each connection",
            buckets=JITTER_BUCKETS,
            registry=registry,
        )
        self.underruns = Counter(
            "alfred_webrtc_underruns", "Times that a speech had to wait for its next piece", registry=registry
        )


class NoticeFamilies:
    """What becomes of the news that goes out to operators."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.webhook = Counter(
            "alfred_webhook_notices", "Changes of alerts by what became of them", ["outcome"], registry=registry
        )
