"""Looking on: the page that shows the daemon at work, what it draws, and the load test that it starts.

Streams cost nothing while nobody watches, and whoever reads too slowly is cut off.
"""
