"""Benchmarks behind ``alfred-voice bench``."""
