"""The way in for browsers and WHIP clients: Opus both ways, the protocol's events on a data channel.

Routes and options are loaded with the server; everything else here, and aiortc with it, with the first offer.
"""
