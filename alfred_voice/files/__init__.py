"""Whole recordings."""
