"""``alfred-voice say``: speak a text into a file, a pipe or the loudspeaker."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from alfred_voice.audio.pcm import encode
from alfred_voice.audio.wav import wav_header
from alfred_voice.clock import SystemClock
from alfred_voice.errors import AlfredVoiceError, Fault, UnusableText
from alfred_voice.models.engine import Int16, TtsEngine, VariantVoices
from alfred_voice.models.sentences import split_sentences
from alfred_voice.results import Voice


if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 - argparse has no public name

EXIT_OK, EXIT_FAILED = 0, 1
_STDOUT = "-"
_INSTEAD = "or write a file with: alfred-voice say TEXT -o out.wav"
Sink = Callable[[Int16], None]


class CannotPlay(AlfredVoiceError):
    """Nothing to play on; the message says what to do."""

    code = "cannot_play"
    fault = Fault.CLIENT


def add_parser(subparsers: Subparsers) -> None:
    """Add the command to ``alfred-voice``."""
    parser = subparsers.add_parser(
        "say",
        help="speak a text into a WAV file or to the loudspeaker",
        description="Speak a text, sentence by sentence: into a WAV file, into a pipe, or to the loudspeaker.",
        epilog='example: alfred-voice say "Good morning." --voice en-gb --speed 1.2 -o morning.wav',
    )
    parser.add_argument("text", nargs="?", metavar="TEXT", help="what to say; - reads it from standard input")
    parser.add_argument("-o", "--output", metavar="FILE", help="write a WAV file; - for standard output")
    parser.add_argument("--voice", help="a name from --voices, such as en-gb or en-us+f3 (default: tts.voice)")
    parser.add_argument("--speed", type=float, help="0.25 to 4.0, where 1.0 is normal (default: tts.speed)")
    parser.add_argument(
        "--voices",
        nargs="?",
        const="",
        metavar="FILTER",
        help="list the voices, or those that have FILTER in their row",
    )
    parser.add_argument("--play", action="store_true", help="play it even if it is also written")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the command; 0 when all was said or listed, 1 when not.

    Raises:
        AlfredVoiceError: it cannot be done as asked.
    """
    from alfred_voice import workshop  # loads NumPy, which the parser can do without

    engine = workshop.build_tts(args.loaded.config)
    if args.voices is not None:
        return _list_voices(engine, args.voices)
    try:
        return _say(args, engine)
    except BrokenPipeError:
        raise
    except OSError as error:
        print(f"error: {args.output}: {error.strerror or error}", file=sys.stderr)
        return EXIT_FAILED


def _say(args: argparse.Namespace, engine: TtsEngine) -> int:
    options = args.loaded.config.tts
    voice = args.voice or options.voice
    speed = options.speed if args.speed is None else args.speed
    sentences = split_sentences(_text(args.text))
    if not sentences:
        raise UnusableText("Expected a text to say, but got none; see alfred-voice say --help")
    engine.check(voice, speed)
    output = args.output or (_STDOUT if not args.play and _leads_on(sys.stdout) else None)
    with contextlib.ExitStack() as stack:
        sinks: list[Sink] = []
        if output is not None:
            sinks.append(stack.enter_context(_wav(output, engine.sample_rate)))
        if args.play or output is None:
            sinks.append(stack.enter_context(_loudspeaker(engine.sample_rate)))
        summary = _speak(engine, sentences, voice, speed, sinks)
    print(summary, file=sys.stderr if output == _STDOUT else sys.stdout)
    return EXIT_OK


def _speak(engine: TtsEngine, sentences: list[str], voice: str, speed: float, sinks: list[Sink]) -> str:
    """Speak the sentences into all sinks; a line on how much it was and how long it took."""
    clock = SystemClock()
    begun = clock.now()
    first_s: float | None = None
    count = 0

    def take(piece: Int16) -> bool:
        nonlocal first_s, count
        first_s = clock.now() - begun if first_s is None else first_s
        count += len(piece)
        for sink in sinks:
            sink(piece)
        return True

    for sentence in sentences:
        engine.synthesise(sentence, voice, speed, take)
    took_ms = 1000 * (clock.now() - begun)
    first = f", the first after {1000 * first_s:.1f} ms" if first_s is not None else ""
    return f"{count / engine.sample_rate:.2f} s of audio in {took_ms:.0f} ms{first}"


def _text(text: str | None) -> str:
    if text != "-":
        return text or ""
    try:
        return sys.stdin.read()
    except UnicodeDecodeError as error:
        raise UnusableText(f"Expected text on standard input, but got bytes that are none: {error}") from error


def _leads_on(stream: object) -> bool:
    """Whether what is written to ``stream`` goes into a pipe or a file."""
    try:
        mode = os.fstat(stream.fileno()).st_mode  # type: ignore[attr-defined]
    except (AttributeError, io.UnsupportedOperation, OSError):
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISREG(mode)


@contextlib.contextmanager
def _wav(output: str, sample_rate: int) -> Iterator[Sink]:
    """A WAV file that is written as the samples come; one that does not get whole is removed."""
    if output == _STDOUT:
        if sys.stdout.isatty():
            raise UnusableText("Expected standard output to be a pipe or a file for -o -, but it is a terminal")
        yield _wav_sink(sys.stdout.buffer, sample_rate)
        sys.stdout.buffer.flush()
        return
    path = Path(output)
    with path.open("wb") as file:
        try:
            yield _wav_sink(file, sample_rate)
        except BaseException:
            if path.is_file():  # not a device, not a named pipe
                path.unlink()
            raise
        if file.seekable():
            samples = (file.tell() - len(wav_header(sample_rate))) // 2
            file.seek(0)
            file.write(wav_header(sample_rate, samples=samples))


def _wav_sink(file: BinaryIO, sample_rate: int) -> Sink:
    file.write(wav_header(sample_rate))

    def write(piece: Int16) -> None:
        file.write(encode(piece, "pcm_s16le"))
        file.flush()

    return write


@contextlib.contextmanager
def _loudspeaker(sample_rate: int) -> Iterator[Sink]:
    """Plays what it is given, no faster than it sounds; on leaving it is heard to the end."""
    # Loads the network client too, which those who write a file need not wait for.
    from alfred_voice.client.errors import SoundDeviceMissing
    from alfred_voice.client.sound import sound_package

    try:
        sounddevice = sound_package()
    except SoundDeviceMissing as error:
        raise CannotPlay(f"{error}; {_INSTEAD}") from error
    try:
        with sounddevice.OutputStream(samplerate=sample_rate, channels=1, dtype="int16") as stream:
            yield lambda piece: stream.write(piece.reshape(-1, 1))
    except sounddevice.PortAudioError as error:
        raise CannotPlay(f"The loudspeaker cannot be used ({error}); {_INSTEAD}") from error


def _list_voices(engine: TtsEngine, wanted: str) -> int:
    """A table of the voices; a filter also finds variants, ``+`` all of them."""
    voices = engine.voices()
    variants = engine.variants() if isinstance(engine, VariantVoices) else []
    shown = [voice for voice in [*voices, *variants] if _matches(voice, wanted)] if wanted else voices
    if not shown:
        print(f"None of the {len(voices)} voices and {len(variants)} variants has {wanted!r}", file=sys.stderr)
        return EXIT_FAILED
    rows = [("NAME", "LANGUAGE", "GENDER", "DESCRIPTION"), *map(_row, shown)]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for row in rows:
        print(f"{row[0]:{widths[0]}}  {row[1]:{widths[1]}}  {row[2]:{widths[2]}}  {row[3]}".rstrip())
    print(f"\n{len(shown)} of {len(voices)} voices and {len(variants)} variants.")
    if variants:
        print(f"Put a variant after a voice, as in {voices[0].name}{variants[0].name}; --voices + lists them.")
    return EXIT_OK


def _row(voice: Voice) -> tuple[str, str, str, str]:
    return voice.name, voice.language or "any", voice.gender or "-", voice.description


def _matches(voice: Voice, wanted: str) -> bool:
    small = wanted.lower()
    if small in ("male", "female"):  # one is part of the other
        return voice.gender == small
    return any(small in text.lower() for text in (voice.name, voice.language, voice.gender, voice.description))
