"""The door: WebSocket, HTTP and the monitor."""
