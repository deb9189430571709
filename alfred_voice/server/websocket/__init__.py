"""The native way in: a WebSocket, from its handshake to its close code.

A connection has at most one session, and a conversation is what is said while it is open. The rest makes aiohttp's
WebSocket fast enough for hundreds of microphones, and as strict as RFC 6455 is.
"""
