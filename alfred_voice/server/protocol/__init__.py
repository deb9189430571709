"""What a client and its session say to each other, whatever carries it.

The messages as bytes, the first of them that opens a session, those that steer it, the close code at its end, and
the link that outlives a lost connection. WebSocket, WebRTC and uploads speak it; it knows none of them.
"""
