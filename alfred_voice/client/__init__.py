"""A client of the daemon's native protocol, for programs and for the commands of this package.

from alfred_voice.client import Conversation, paced
"""

from alfred_voice.client.conversation import Conversation
from alfred_voice.client.errors import (
    ClientError,
    ConversationLost,
    ConversationRefused,
    DaemonSilent,
    DaemonUnreachable,
    NotResumed,
    SettingsRefused,
    SoundDeviceMissing,
    UnreadableMessage,
)
from alfred_voice.client.framing import ClientEvent, Mode
from alfred_voice.client.link import Timeouts
from alfred_voice.client.opening import DEFAULT_URL
from alfred_voice.client.pacing import PaceRecord, paced
from alfred_voice.client.return_plan import Absence, ReturnPlan
from alfred_voice.client.settings import Settings


__all__ = [
    "DEFAULT_URL",
    "Absence",
    "ClientError",
    "ClientEvent",
    "Conversation",
    "ConversationLost",
    "ConversationRefused",
    "DaemonSilent",
    "DaemonUnreachable",
    "Mode",
    "NotResumed",
    "PaceRecord",
    "ReturnPlan",
    "Settings",
    "SettingsRefused",
    "SoundDeviceMissing",
    "Timeouts",
    "UnreadableMessage",
    "paced",
]
