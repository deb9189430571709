"""What has been sent, or is to be, and may have to be sent again: audio and control messages in their order.

The daemon tells up to which byte it has taken the audio. Messages are carried out in their order, so whoever has taken
the byte behind a control message has taken that message, too. What a control message brings about shows it as well,
and all that came before it. Only what nothing shows is kept.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from alfred_voice.client.framing import ClientEvent


MAX_CONTROLS = 64
"""Control messages that are kept; the daemon takes more than that at once (``security.control_burst``)."""

Sign = tuple[str, Any]
"""What shows that a control message has arrived: a kind of event, and the id in it."""


@dataclass(frozen=True, slots=True)
class Audio:
    """One message of audio."""

    at: int
    """The byte of the session's audio with which it begins."""
    data: bytes

    @property
    def end(self) -> int:
        """The byte behind it."""
        return self.at + len(self.data)


@dataclass(frozen=True, slots=True)
class Control:
    """One control message."""

    at: int
    """How many bytes of audio were sent before it."""
    data: str | bytes
    """As it stands in its frame."""
    sign: Sign | None
    """What shows that it has arrived; None where no event does."""


class Backlog:
    """Audio and control messages, each kept until it is known to have arrived.

    Args:
        limit_bytes: how much may be kept; the bytes of control messages count, too.
        max_controls: how many control messages.
    """

    def __init__(self, limit_bytes: int, max_controls: int = MAX_CONTROLS) -> None:
        self._limit_bytes = limit_bytes
        self._max_controls = max_controls
        self._items: deque[Audio | Control] = deque()
        self._taken = 0
        self._controls = 0
        self._keeps = True
        self.bytes = 0
        """Kept now."""
        self.end = 0
        """Bytes of audio since the session began."""

    @property
    def unsent(self) -> int:
        """Messages that have not been taken to be sent, or are to be sent again."""
        return len(self._items) - self._taken

    def has_room(self, size: int, *, is_control: bool = False) -> bool:
        """Whether a message of ``size`` bytes may be added; one that is larger than all the room may when it is alone.

        A control message that has been sent makes room for the next one when there are too many: then so many have
        followed it that it is taken to have arrived.
        """
        if is_control and self._controls >= self._max_controls and self._oldest_sent_control() is None:
            return False
        return not self._items or self.bytes + size <= self._limit_bytes

    def add_audio(self, data: bytes) -> None:
        """Keep one message of audio, to be sent behind all that has been added."""
        self._add(Audio(self.end, data))
        self.end += len(data)

    def add_control(self, data: str | bytes, sign: Sign | None = None) -> None:
        """Keep one control message, to be sent behind all that has been added."""
        if self._controls >= self._max_controls:
            oldest = self._oldest_sent_control()
            if oldest is not None:
                self._remove(oldest)
        self._add(Control(self.end, data, sign))

    def take(self) -> Audio | Control | None:
        """The next message to be sent, which counts as sent from now on; None when there is none."""
        if self._taken == len(self._items):
            return None
        item = self._items[self._taken]
        if self._keeps:
            self._taken += 1
        else:
            self._remove(self._taken)
        return item

    def acknowledge(self, audio_bytes: int) -> None:
        """The daemon has taken so many bytes of the session's audio: let go of what that shows to have arrived.

        Raises:
            ValueError: so many have never been sent.
        """
        if audio_bytes > self._sent_end:
            raise ValueError(f"{audio_bytes} bytes of audio are acknowledged, of {self._sent_end} that were sent")
        while self._taken and _has_arrived(self._items[0], audio_bytes):
            self._remove(0)

    def note(self, event: ClientEvent) -> None:
        """An event has come: let go of what it shows to have arrived."""
        sign = _sign_of(event) if self._controls else None
        if sign is None:
            return
        for index, item in enumerate(islice(self._items, self._taken)):
            if isinstance(item, Control) and item.sign == sign:
                for _ in range(index + 1):
                    self._remove(0)
                return

    def rewind(self, audio_bytes: int) -> None:
        """Another connection begins, on which audio is to be sent from that byte on: everything kept is sent again.

        Raises:
            ValueError: so many bytes have never been sent, or what is asked for has been let go of.
        """
        self.acknowledge(audio_bytes)
        self._taken = 0
        kept_from = self._items[0].at if self._items else self.end
        if audio_bytes < kept_from:
            raise ValueError(f"audio is asked for from byte {audio_bytes} on; it is kept from byte {kept_from} on")
        if audio_bytes > kept_from:
            # What the daemon has of the first message is not sent again; control messages before it have arrived.
            first = self._items[0]
            if not isinstance(first, Audio):
                raise AssertionError(f"a control message at byte {first.at} was kept behind byte {audio_bytes}")
            self._items[0] = Audio(audio_bytes, first.data[audio_bytes - first.at :])
            self.bytes -= audio_bytes - first.at

    def keep_nothing(self) -> None:
        """Let go of everything that has been sent, now and from now on: nobody will ask for it again."""
        self._keeps = False
        while self._taken:
            self._remove(0)

    @property
    def _sent_end(self) -> int:
        """Bytes of audio that have been sent."""
        return self.end if self._taken == len(self._items) else self._items[self._taken].at

    def _add(self, item: Audio | Control) -> None:
        self._items.append(item)
        self.bytes += len(item.data)
        self._controls += isinstance(item, Control)

    def _remove(self, index: int) -> None:
        item = self._items[index]
        del self._items[index]
        self._taken -= index < self._taken
        self.bytes -= len(item.data)
        self._controls -= isinstance(item, Control)

    def _oldest_sent_control(self) -> int | None:
        sent = enumerate(islice(self._items, self._taken))
        return next((index for index, item in sent if isinstance(item, Control)), None)


def sign_of_control(message: Mapping[str, Any]) -> Sign | None:
    """What will show that the daemon has got a control message."""
    match message.get("type"):
        case "ping":
            return "pong", message.get("id")
        case "speak":
            return "speech", message.get("speech_id")
    return None


def _sign_of(event: ClientEvent) -> Sign | None:
    match event["type"]:
        case "pong":
            return "pong", event.get("id")
        case "ttsStart" | "ttsEnd":
            return "speech", event.get("speech_id")
    return None


def _has_arrived(item: Audio | Control, audio_bytes: int) -> bool:
    # A control message in front of the very next byte may have come or not.
    return item.end <= audio_bytes if isinstance(item, Audio) else item.at < audio_bytes
