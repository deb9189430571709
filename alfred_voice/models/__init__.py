"""Engines and where their weights come from."""
