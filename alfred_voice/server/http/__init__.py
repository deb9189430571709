"""Plain HTTP: requests that are answered and over.

What the daemon tells of itself, speech for a text, files into sessions, whole recordings, and the settings while it
runs.
"""
