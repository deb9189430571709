"""Frames in, batches to the engines, events out: everything that waits."""
