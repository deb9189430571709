"""A client of the daemon's native protocol, for programs and for the commands of this package.

from alfred_voice.client import Conversation, paced
"""

from alfred_voice.client.conversation import DEFAULT_URL, Conversation, Timeouts
from alfred_voice.client.errors import (
    ClientError,
    ConversationLost,
    ConversationRefused,
    DaemonSilent,
    DaemonUnreachable,
    SettingsRefused,
    SoundDeviceMissing,
    UnreadableMessage,
)
from alfred_voice.client.framing import ClientEvent, Mode
from alfred_voice.client.pacing import PaceRecord, paced
from alfred_voice.client.settings import Settings


__all__ = [
    "DEFAULT_URL",
    "ClientError",
    "ClientEvent",
    "Conversation",
    "ConversationLost",
    "ConversationRefused",
    "DaemonSilent",
    "DaemonUnreachable",
    "Mode",
    "PaceRecord",
    "Settings",
    "SettingsRefused",
    "SoundDeviceMissing",
    "Timeouts",
    "UnreadableMessage",
    "paced",
]
