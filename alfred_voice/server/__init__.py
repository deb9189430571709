"""The door: WebSocket, WebRTC, HTTP and the monitor, each a room of its own, behind one guard."""
