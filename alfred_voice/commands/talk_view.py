"""How ``alfred-voice talk`` shows a session: live on a terminal, a line per event elsewhere, or as JSON."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable, Iterable
from typing import Any, Protocol, TextIO

from alfred_voice.client import Absence, ClientEvent


HIDDEN = frozenset({"pipelineHealth", "frameProcessed", "ttsAudio", "audioAcknowledged", "sessionResumed"})
"""Events that are shown only when they are asked for."""

_BOLD, _DIM, _PLAIN = "\x1b[1m", "\x1b[2m", "\x1b[0m"
_REWRITE = "\r\x1b[K"
"""To the start of the line, and erase it (ECMA-48: CR, EL)."""
_MARGIN = 12
"""Columns of the time that stands before each line."""


class View(Protocol):
    """Shows what a session tells."""

    def show(self, event: ClientEvent) -> None:
        """One event."""
        ...

    def note(self, text: str) -> None:
        """A remark of the command itself."""
        ...

    def close(self) -> None:
        """Leave the screen tidy."""
        ...


class JsonView:
    """Each event as it came, one per line; of synthesised audio only its length. Remarks go to ``errors``.

    The token with which a session can be taken over is left out: what is printed is often kept.
    """

    def __init__(self, out: TextIO, errors: TextIO) -> None:
        self._out = out
        self._errors = errors

    def show(self, event: ClientEvent) -> None:
        """One line of JSON."""
        if event["type"] == "ttsAudio":
            event = {**event, "audio": len(event["audio"])}
        elif "resume" in event:
            event = {name: value for name, value in event.items() if name != "resume"}
        print(json.dumps(event, ensure_ascii=False), file=self._out, flush=True)

    def note(self, text: str) -> None:
        """A line outside the stream of events."""
        print(text, file=self._errors, flush=True)

    def close(self) -> None:
        """Nothing is open."""


class LineView:
    """A line for each event."""

    def __init__(self, out: TextIO, also: Iterable[str] = ()) -> None:
        self._out = out
        self._hidden = HIDDEN - set(also)

    def show(self, event: ClientEvent) -> None:
        """One line, unless nobody asked for it."""
        if event["type"] not in self._hidden:
            print(f"{moment(event)}{describe(event)}", file=self._out, flush=True)

    def note(self, text: str) -> None:
        """A line without a time."""
        print(f"{' ' * _MARGIN}{text}", file=self._out, flush=True)

    def close(self) -> None:
        """Nothing is open."""


class TerminalView:
    """Lines for what stays; the partial text rewritten in place, its stable part bold and the rest dim."""

    def __init__(
        self, out: TextIO, columns: Callable[[], int], also: Iterable[str] = (), *, colours: bool = True
    ) -> None:
        self._out = out
        self._columns = columns
        self._hidden = HIDDEN - set(also)
        self._bold, self._dim, self._plain = (_BOLD, _DIM, _PLAIN) if colours else ("", "", "")
        self._live = False

    def show(self, event: ClientEvent) -> None:
        """Rewrite the live line, or leave a line behind."""
        if event["type"] == "partialTranscription":
            self._show_partial(event)
        elif event["type"] not in self._hidden:
            self._leave(f"{moment(event)}{self._styled(event)}")

    def note(self, text: str) -> None:
        """A line without a time."""
        self._leave(f"{' ' * _MARGIN}{self._dim}{text}{self._plain}")

    def close(self) -> None:
        """Take the live line away."""
        if self._live:
            self._write(_REWRITE)
            self._live = False

    def _show_partial(self, event: ClientEvent) -> None:
        stable = printable(str(event["stable_text"]))
        rest = printable(str(event["text"]))[len(stable) :]
        room = self._columns() - _MARGIN - 1
        too_much = width(stable) + width(rest) - room
        if too_much > 0:
            # The end is what is new; an ellipsis stands for what scrolled away.
            stable, rest = _without_start(stable, rest, too_much + 1)
        self._write(f"{_REWRITE}{moment(event)}{self._bold}{stable}{self._plain}{self._dim}{rest}{self._plain}")
        self._live = True

    def _styled(self, event: ClientEvent) -> str:
        text = describe(event)
        if event["type"] == "finalTranscription":
            spoken, _, figures = text.rpartition("  (")
            return f"{self._bold}{spoken}{self._plain}{self._dim}  ({figures}{self._plain}"
        if event["type"] in ("error", "warning", "interruption", "turnComplete"):
            return text
        return f"{self._dim}{text}{self._plain}"

    def _leave(self, line: str) -> None:
        self._write(f"{_REWRITE if self._live else ''}{line}\n")
        self._live = False

    def _write(self, text: str) -> None:
        self._out.write(text)
        self._out.flush()


def moment(event: ClientEvent) -> str:
    """When an event was, on the session's clock, in the margin's width; blank when it does not say."""
    at_ms = event.get("at_ms", event.get("end_ms"))
    return f"{at_ms / 1000:8.2f} s  " if isinstance(at_ms, (int, float)) else " " * _MARGIN


def describe(event: ClientEvent) -> str:
    """One line about an event, for people; nothing in it steers a terminal."""
    tell = _TELLERS.get(event["type"], _tell_anything)
    return printable(tell(event))


def describe_absence(absence: Absence) -> str:
    """One line about a connection that is lost, or that there is again."""
    if absence.lasted_s is None:
        return "connection lost; coming back…"
    return f"back after {absence.lasted_s:.1f} s, nothing lost"


def printable(text: str) -> str:
    """The text with control characters, which could steer a terminal, made visible."""
    return "".join(repr(c)[1:-1] if unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp", "Cs") else c for c in text)


def width(text: str) -> int:
    """How many columns a terminal gives ``text`` (wide forms as in Unicode Standard Annex 11)."""
    return sum(_column_count(c) for c in text)


def _column_count(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _without_start(stable: str, rest: str, columns: int) -> tuple[str, str]:
    """Both parts with at least ``columns`` columns of their start replaced by an ellipsis."""
    text = stable + rest
    cut = gone = 0
    while cut < len(text) and gone < columns:
        gone += _column_count(text[cut])
        cut += 1
    return "…" + stable[cut:], rest[max(cut - len(stable), 0) :]


def _tell_started(event: ClientEvent) -> str:
    engines = ", ".join(f"{kind} {name}" for kind, name in event.get("engines", {}).items())
    return f"session {event.get('session_id')}: {event.get('sample_rate')} Hz {event.get('encoding')} ({engines})"


def _tell_final(event: ClientEvent) -> str:
    span = f"{event['start_ms'] / 1000:.2f} to {event['end_ms'] / 1000:.2f} s"
    text = event["text"] or "[no words]"
    return f"{text}  (utterance {event['utterance']}, {span}, {event['latency_ms']:.0f} ms)"


def _tell_turn(event: ClientEvent) -> str:
    return (
        f"turn complete ({event['reason']}, p {event['probability']:.2f}, "
        f"{event['silence_ms']:.0f} ms of silence, {event['latency_ms']:.0f} ms)"
    )


def _tell_interruption(event: ClientEvent) -> str:
    return f"speech {event['speech_id']} interrupted after {event['spoken_ms']:.0f} ms ({event['latency_ms']:.0f} ms)"


def _tell_speech_over(event: ClientEvent) -> str:
    return (
        f"speech {event['speech_id']} {'cancelled' if event['cancelled'] else 'over'} ({event['duration_ms']:.0f} ms)"
    )


def _tell_health(event: ClientEvent) -> str:
    state = event["pipelineState"]
    return f"{state['health']}, load {state['processingLoad']:.0f} %, {state['memoryUsage']:.0f} MB"


def _tell_ended(event: ClientEvent) -> str:
    stats = event["stats"]
    return (
        f"session over ({event['reason']}): {stats['frames_received']} frames, {stats['frames_dropped']} dropped, "
        f"{stats['utterances']} utterances, {stats['speech_ms'] / 1000:.1f} s of speech"
    )


def _tell_anything(event: ClientEvent) -> str:
    fields = {name: value for name, value in event.items() if name not in ("type", "session_id", "seq", "audio")}
    return " ".join([event["type"], *(f"{name}={_short(value)}" for name, value in fields.items())])


def _short(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


_TELLERS: dict[str, Callable[[ClientEvent], str]] = {
    "sessionStarted": _tell_started,
    "speechStart": lambda e: f"speech starts (p {e['probability']:.2f})",
    "speechEnd": lambda e: f"speech ends ({e['duration_ms']:.0f} ms)",
    "partialTranscription": lambda e: f"… {e['text']}",
    "finalTranscription": _tell_final,
    "turnPending": lambda e: f"turn goes on (p {e['probability']:.2f}, {e['silence_ms']:.0f} ms of silence)",
    "turnComplete": _tell_turn,
    "interruption": _tell_interruption,
    "ttsStart": lambda e: f"speech {e['speech_id']} begins ({e['voice']}): {e['text']}",
    "ttsEnd": _tell_speech_over,
    "pipelineHealth": _tell_health,
    "warning": lambda e: f"warning: {e['message']} ({e['code']})",
    "error": lambda e: f"error: {e['message']} ({e['code']})",
    "sessionEnded": _tell_ended,
}
