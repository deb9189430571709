"""The logic of one speaker: values in, values out; no asyncio, no clock, no engine."""
