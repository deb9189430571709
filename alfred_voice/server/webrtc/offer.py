"""A peer's offer (SDP, RFC 8866): what is in it, and whether it can be answered."""

from __future__ import annotations

from dataclasses import dataclass

from aiortc import sdp as description

from alfred_voice.server.echo import shorten
from alfred_voice.server.errors import MalformedMessage, OfferUnusable


MOST_SECTIONS = 8
MOST_CANDIDATES = 24
MOST_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class Offer:
    """What a peer proposes."""

    sdp: str
    """Without what the daemon does not follow up."""
    audio: tuple[str, ...]
    """The names (mid) of its audio sections."""
    directions: tuple[str, ...]
    """Theirs, such as ``sendrecv``."""
    others: tuple[str, ...]
    """Those of other media, which are answered as inactive."""
    has_channel: bool
    credentials: frozenset[tuple[str, str]]
    """Of ICE: others than before ask for a restart."""


def read_offer(text: str) -> Offer:
    """An offer that can be answered.

    Raises:
        MalformedMessage: it is none, or has no audio in Opus and no data channel.
    """
    if len(text) > MOST_BYTES:
        raise MalformedMessage(f"sdp: expected at most {MOST_BYTES} characters, got {len(text)}")
    text = _without_unusable_candidates(text)
    try:
        parsed = description.SessionDescription.parse(text)
    except Exception as error:  # the library raises whatever it stumbles over
        raise MalformedMessage(f"sdp: expected an offer: {shorten(f'{type(error).__name__} {error}')}") from error
    media = parsed.media
    if not media or len(media) > MOST_SECTIONS:
        raise MalformedMessage(f"sdp: expected 1 to {MOST_SECTIONS} media sections, got {len(media)}")
    for each in media:
        _check_section(each)
    names = [each.rtp.muxId for each in media]
    if len(set(names)) < len(names):
        raise MalformedMessage("sdp: expected each media section to have a name (a=mid) of its own")
    bundled = [name for group in parsed.group if group.semantic == "BUNDLE" for name in group.items]
    if not {str(name) for name in bundled} <= set(names):
        raise MalformedMessage("sdp: expected a=group:BUNDLE to name sections that are there")
    offer = Offer(
        sdp=text,
        audio=tuple(each.rtp.muxId for each in media if each.kind == "audio"),
        # What says nothing goes both ways (RFC 8866, section 6.7).
        directions=tuple(each.direction or "sendrecv" for each in media if each.kind == "audio"),
        others=tuple(each.rtp.muxId for each in media if each.kind not in ("audio", "application")),
        has_channel=any(each.kind == "application" for each in media),
        credentials=frozenset(_credentials(each) for each in media),
    )
    if not offer.audio and not offer.has_channel:
        raise MalformedMessage("sdp: expected an audio section or a data channel")
    return offer


def check_publishing(offer: Offer) -> None:
    """Nothing, when somebody who only publishes may offer this (RFC 9725, sections 4.2 and 4.4.2).

    Raises:
        OfferUnusable: there is not exactly one audio section that sends.
    """
    if len(offer.audio) != 1:
        raise OfferUnusable(f"sdp: expected one audio section, got {len(offer.audio)}")
    if offer.directions[0] not in ("sendonly", "sendrecv"):
        raise OfferUnusable(f"sdp: expected audio that is sendonly or sendrecv, got {offer.directions[0]}")


def _check_section(media: description.MediaDescription) -> None:
    """Whatever the library takes for granted later, in a task that nobody waits for."""
    if media.kind not in ("audio", "video", "application"):
        raise MalformedMessage(f"sdp: expected audio, video or application, got {shorten(media.kind)}")
    if not all(_credentials(media)):
        raise MalformedMessage("sdp: expected a=ice-ufrag and a=ice-pwd for each media section")
    if media.dtls is None or not media.dtls.fingerprints:
        raise MalformedMessage("sdp: expected a=fingerprint and a=setup for each media section")
    if media.kind != "application" and not media.rtcp_mux:
        raise MalformedMessage("sdp: expected a=rtcp-mux")
    codecs = [codec.mimeType.lower() for codec in media.rtp.codecs]
    if media.kind == "audio" and "audio/opus" not in codecs:
        raise MalformedMessage("sdp: expected Opus among the codecs of an audio section")


def _credentials(media: description.MediaDescription) -> tuple[str, str]:
    ice = media.ice
    return ("", "") if ice is None else (ice.usernameFragment or "", ice.password or "")


def _without_unusable_candidates(text: str) -> str:
    """The offer with so many candidates as are looked at, and none whose name only multicast could resolve.

    The end of candidates is not told either: a peer may still be found by its own checks of ours.
    """
    kept: list[str] = []
    candidates = 0
    for line in text.splitlines():
        if line.startswith("a=end-of-candidates"):
            continue
        if line.startswith("a=candidate:"):
            candidates += 1
            words = line.split()
            if candidates > MOST_CANDIDATES or len(words) < 5 or words[4].lower().rstrip(".").endswith(".local"):
                continue
        kept.append(line)
    return "\r\n".join(kept) + "\r\n"
