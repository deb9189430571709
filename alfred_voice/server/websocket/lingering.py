"""A WebSocket that can still talk to a client whose message is too big.

The library closes such a connection on the spot. The client is then told nothing but a close code, and often not even
that: a connection that is closed with unread bytes is reset, and the reset overtakes the close frame.
"""

from __future__ import annotations

import asyncio

from aiohttp import WSCloseCode, WSMsgType, web

from alfred_voice.server.protocol.closing import Closing


LINGER_S = 2.0
"""How long a client may go on sending what is too big; it is read and thrown away."""
_POLL_S = 0.02


class LingeringSocket(web.WebSocketResponse):
    """Leaves the close with 1009 to its owner, who calls :meth:`close_too_big` when everything has been told."""

    _is_left_open = False

    async def close(self, *, code: int = WSCloseCode.OK, message: bytes = b"", drain: bool = True) -> bool:
        """Close, unless it is the library's own first close of a message that is too big."""
        if code == WSCloseCode.MESSAGE_TOO_BIG and not self._is_left_open:
            self._is_left_open = True
            return False
        return await super().close(code=code, message=message, drain=drain)

    async def close_too_big(self, closing: Closing, transport: asyncio.Transport) -> None:
        """Say why, and hang up when the client has or its time is over."""
        await self.send_frame(closing.code.to_bytes(2, "big") + closing.reason.encode(), WSMsgType.CLOSE)
        deadline = asyncio.get_running_loop().time() + LINGER_S
        # What is waited for is the peer's reset or end of file, which the library keeps to itself.
        while not transport.is_closing() and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(_POLL_S)
        transport.close()
