"""Alfred Voice: a self-hosted, real-time voice daemon."""

__version__ = "0.1.0"
