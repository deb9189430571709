"""Samples: formats, rates, frames. NumPy and values only, no model and no clock."""
