"""What is read of an offer, and which ones are refused before anything is opened for them."""

from __future__ import annotations

import pytest

from alfred_voice.server.errors import MalformedMessage, OfferUnusable
from alfred_voice.server.webrtc.offer import MOST_CANDIDATES, MOST_SECTIONS, check_publishing, read_offer


SESSION = [
    "v=0",
    "o=- 1 2 IN IP4 127.0.0.1",
    "s=-",
    "t=0 0",
    "a=group:BUNDLE {mids}",
    "a=fingerprint:sha-256 " + ":".join(["AB"] * 32),
    "a=setup:actpass",
]
ICE = ["a=ice-ufrag:abcd", "a=ice-pwd:abcdefghijklmnopqrstuv"]
AUDIO = ["m=audio 9 UDP/TLS/RTP/SAVPF 111 0", "c=IN IP4 0.0.0.0", "a=mid:{mid}", "a=rtcp-mux", "a=sendrecv",
         "a=rtpmap:111 opus/48000/2", "a=rtpmap:0 PCMU/8000", *ICE]  # fmt: skip
VIDEO = ["m=video 9 UDP/TLS/RTP/SAVPF 96", "c=IN IP4 0.0.0.0", "a=mid:{mid}", "a=rtcp-mux", "a=sendonly",
         "a=rtpmap:96 VP8/90000", *ICE]  # fmt: skip
CHANNEL = ["m=application 9 UDP/DTLS/SCTP webrtc-datachannel", "c=IN IP4 0.0.0.0", "a=mid:{mid}",
           "a=sctp-port:5000", *ICE]  # fmt: skip


def offer(*sections: list[str], leave_out: str = "never", more: tuple[str, ...] = ()) -> str:
    """The text of an offer; ``leave_out`` begins the lines that it lacks."""
    mids = " ".join(str(number) for number in range(len(sections)))
    lines = [line.format(mids=mids) for line in SESSION]
    for mid, section in enumerate(sections):
        lines += [line.format(mid=mid) for line in section]
    lines += more
    return "".join(f"{line}\r\n" for line in lines if not line.startswith(leave_out))


def test_an_offer_of_a_browser_is_read() -> None:
    read = read_offer(offer(AUDIO, CHANNEL))
    assert (read.audio, read.others, read.has_channel) == (("0",), (), True)
    assert read.credentials == {("abcd", "abcdefghijklmnopqrstuv")}


def test_audio_that_does_not_say_where_it_goes_goes_both_ways() -> None:
    assert read_offer(offer(AUDIO)).directions == ("sendrecv",)
    assert read_offer(offer(AUDIO, leave_out="a=sendrecv")).directions == ("sendrecv",)
    assert read_offer(offer(AUDIO).replace("a=sendrecv", "a=recvonly")).directions == ("recvonly",)


def test_who_publishes_sends_one_audio() -> None:
    check_publishing(read_offer(offer(AUDIO, VIDEO)))
    for text in (offer(CHANNEL), offer(AUDIO, AUDIO), offer(AUDIO).replace("a=sendrecv", "a=inactive")):
        with pytest.raises(OfferUnusable):
            check_publishing(read_offer(text))


def test_audio_alone_is_enough_and_so_is_a_channel() -> None:
    assert not read_offer(offer(AUDIO)).has_channel
    assert read_offer(offer(CHANNEL)).audio == ()


def test_other_media_are_named() -> None:
    read = read_offer(offer(VIDEO, AUDIO, AUDIO))
    assert (read.audio, read.others) == (("1", "2"), ("0",))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "media sections"),
        ("nonsense", "media sections"),
        ("v=0\r\nm=audio", "offer"),
        ("\x00\xff" * 50, "media sections"),
        (offer(), "media sections"),
        (offer(VIDEO), "audio section or a data channel"),
        (offer(*[AUDIO] * (MOST_SECTIONS + 1)), "media sections"),
        (offer(AUDIO, leave_out="a=ice-ufrag"), "ice-ufrag"),
        (offer(AUDIO, leave_out="a=ice-pwd"), "ice-pwd"),
        (offer(AUDIO, leave_out="a=fingerprint"), "fingerprint"),
        (offer(AUDIO, leave_out="a=rtcp-mux"), "rtcp-mux"),
        (offer(AUDIO, leave_out="a=rtpmap:111"), "Opus"),
        (offer(AUDIO).replace("a=mid:0", "a=mid:x") + "".join(f"{line}\r\n" for line in AUDIO).format(mid="x"), "mid"),
        (offer(AUDIO).replace("m=audio", "m=text"), "text"),
        (offer(AUDIO).replace("BUNDLE 0", "BUNDLE 1"), "BUNDLE"),
        ("v=0\r\n" + "a=x\r\n" * 20_000, "characters"),
    ],
)
def test_what_cannot_be_answered_is_refused_with_a_reason(text: str, said: str) -> None:
    with pytest.raises(MalformedMessage, match=said) as refused:
        read_offer(text)
    assert str(refused.value).startswith("sdp: ")
    assert len(str(refused.value)) < 250


def candidate(address: str, number: int = 1) -> str:
    return f"a=candidate:{number} 1 udp 2122260223 {address} 50000 typ host"


def test_names_that_only_multicast_could_resolve_are_not_followed() -> None:
    read = read_offer(offer(AUDIO, more=(candidate("4f1c7a8e-1.local"), candidate("192.0.2.9"))))
    assert ".local" not in read.sdp
    assert "192.0.2.9" in read.sdp


def test_the_end_of_candidates_is_not_told_as_checks_may_still_come() -> None:
    assert "end-of-candidates" not in read_offer(offer(AUDIO, more=("a=end-of-candidates",))).sdp


def test_no_more_candidates_are_looked_at_than_a_machine_has() -> None:
    many = tuple(candidate(f"192.0.2.{number}", number) for number in range(100))
    assert read_offer(offer(AUDIO, more=many)).sdp.count("a=candidate:") == MOST_CANDIDATES
