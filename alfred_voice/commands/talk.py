"""``alfred-voice talk``: stream a file or the microphone to a running daemon and watch what it hears."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alfred_voice.commands.daemon_options import add_daemon_options, key_advice, key_of
from alfred_voice.errors import AlfredVoiceError


if TYPE_CHECKING:
    # A command that does not talk need not load what talking takes.
    from alfred_voice.commands.talk_session import TalkSession
    from alfred_voice.commands.talk_sound import SpeechSink
    from alfred_voice.commands.talk_view import View


EXIT_OK, EXIT_DAEMON, EXIT_USAGE = 0, 1, 2
_FRAME_S = 0.02
_SILENCE_S = 30.0
"""A daemon tells its health once a second; one that says nothing for this long is gone."""


def add_parser(subparsers: Any) -> None:
    """Add the command to ``alfred-voice``."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "talk",
        help="stream a file or the microphone to a running daemon and print events live",
        description="Stream a file or the microphone to a running daemon and print what it hears, live.",
        epilog="Exit codes: 0 all well, 1 the daemon reported an error, 2 wrong usage or nothing answers.",
    )
    parser.add_argument("file", nargs="?", type=Path, metavar="FILE", help="audio of any format, sent in real time")
    parser.add_argument("--mic", nargs="?", const="", metavar="DEVICE", help="the microphone, by number or name")
    parser.add_argument("--devices", action="store_true", help="list microphones and loudspeakers, and leave")
    add_daemon_options(parser, "ws://127.0.0.1:8015/ws", "the daemon's key for us")
    parser.add_argument("--msgpack", action="store_true", help="speak MessagePack instead of JSON")
    parser.add_argument(
        "--no-resume",
        action="store_true",
        help="end when the connection is lost, instead of coming back to the session",
    )
    parser.add_argument(
        "--pace", type=_pace, default=1.0, help="times real time for a FILE; 0 for as fast as it goes (default: 1.0)"
    )
    parser.add_argument("--language", help="the speaker's language, such as en")
    parser.add_argument("--say", metavar="TEXT", help="also have the daemon speak; speech in FILE interrupts it")
    parser.add_argument("--voice", help="the daemon's voice for --say")
    parser.add_argument("--save-audio", metavar="PATH", help="its speech as a WAV file, or a folder/ for one each")
    parser.add_argument("--json", action="store_true", help="print the raw events, one per line")
    parser.add_argument(
        "--events", metavar="TYPES", help="also show these, by commas, such as pipelineHealth,frameProcessed; or: all"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the command; the result is its exit code."""
    from alfred_voice.client import ConversationLost, ConversationRefused, DaemonSilent, UnreadableMessage

    try:
        _check_usage(args)
        if args.devices:
            from alfred_voice.client.sound import describe_devices

            print(describe_devices())
            return EXIT_OK
        return asyncio.run(talk(args))
    except ConversationRefused as exc:
        return _complain(f"{exc}{key_advice(exc.problem, args)}", EXIT_DAEMON)
    except (ConversationLost, DaemonSilent, UnreadableMessage) as exc:
        return _complain(exc, EXIT_DAEMON)
    except BrokenPipeError:
        raise  # who reads our output has left
    except (AlfredVoiceError, OSError, _Usage) as exc:
        return _complain(exc, EXIT_USAGE)
    except KeyboardInterrupt:
        return _complain("stopped before the session was over", EXIT_DAEMON)


async def talk(args: argparse.Namespace) -> int:
    """Hold one conversation as ``args`` say; the result is the exit code."""
    from alfred_voice.client import Conversation, ReturnPlan, Timeouts
    from alfred_voice.commands.talk_session import TalkSession
    from alfred_voice.commands.talk_view import describe_absence

    with contextlib.ExitStack() as stack:
        view = _view(args)
        stack.callback(view.close)
        sinks = _sinks(args, view, stack)
        connection = Conversation.connect(
            args.daemon,
            mode="msgpack" if args.msgpack else "json",
            start=_start(args),
            key=key_of(args),
            timeouts=Timeouts(receive_s=_SILENCE_S),
            resumable=not args.no_resume and ReturnPlan(watch=lambda absence: view.note(describe_absence(absence))),
        )
        async with _frames(args) as frames, connection as conversation:
            session = TalkSession(conversation, view, sinks)
            with _stopped_by_ctrl_c(session):
                went_well = await session.hold(frames, say=args.say, voice=args.voice)
    return EXIT_OK if went_well else EXIT_DAEMON


class _Usage(Exception):
    """The command was called in a way that makes no sense."""


def _check_usage(args: argparse.Namespace) -> None:
    """Refuse what cannot be meant, before anything is opened."""
    if args.devices:
        return
    if args.file is not None and args.mic is not None:
        raise _Usage("give a FILE or --mic, not both")
    if args.file is None and args.mic is None and args.say is None:
        raise _Usage("nothing to send: give a FILE, --mic or --say TEXT")
    if args.file is not None and not args.file.is_file():
        raise _Usage(f"no such file: {args.file}")
    if args.save_audio is not None and args.say is None:
        raise _Usage("--save-audio needs --say TEXT")


def _pace(text: str) -> float:
    """The value of ``--pace``."""
    pace = float(text)
    if not 0 <= pace <= 1000:
        raise argparse.ArgumentTypeError(f"expected 0 to 1000, got {text}")
    return pace


def _start(args: argparse.Namespace) -> dict[str, Any]:
    """The fields of ``start``."""
    start: dict[str, Any] = {}
    if args.language:
        start["language"] = args.language
    wanted = _shown(args)
    if wanted == ["all"]:
        start["events"] = ["*"]
    elif wanted:
        start["events"] = wanted
    return start


def _shown(args: argparse.Namespace) -> list[str]:
    """The types that ``--events`` names."""
    return [name.strip() for name in (args.events or "").split(",") if name.strip()]


def _view(args: argparse.Namespace) -> View:
    """The view that suits the output."""
    from alfred_voice.commands.talk_view import HIDDEN, JsonView, LineView, TerminalView

    also = HIDDEN if _shown(args) == ["all"] else _shown(args)
    if args.json:
        return JsonView(sys.stdout, sys.stderr)
    if sys.stdout.isatty():
        return TerminalView(
            sys.stdout, lambda: shutil.get_terminal_size().columns, also, colours="NO_COLOR" not in os.environ
        )
    return LineView(sys.stdout, also)


def _sinks(args: argparse.Namespace, view: View, stack: contextlib.ExitStack) -> list[SpeechSink]:
    """Where the daemon's speech goes; ``stack`` closes it."""
    from alfred_voice.client import SoundDeviceMissing
    from alfred_voice.commands.talk_sound import played, saved_to

    if args.save_audio is not None:
        target = Path(args.save_audio)
        if args.save_audio.endswith("/"):
            target.mkdir(parents=True, exist_ok=True)
        return [stack.enter_context(saved_to(target))]
    if args.say is not None:
        try:
            return [stack.enter_context(played())]
        except SoundDeviceMissing as exc:
            view.note(f"speech is not played: {exc}")
    return []


@contextlib.asynccontextmanager
async def _frames(args: argparse.Namespace) -> AsyncIterator[AsyncIterator[bytes]]:
    """What is sent, at the speed at which it is to be sent."""
    from alfred_voice.client import paced
    from alfred_voice.client.sound import microphone
    from alfred_voice.commands.talk_sound import file_frames

    if args.mic is not None:
        async with microphone(args.mic or None) as heard:
            yield heard
    elif args.file is not None:
        async with contextlib.aclosing(file_frames(args.file)) as frames:
            yield paced(frames, _FRAME_S / args.pace if args.pace else 0.0)
    else:
        yield paced([], 0.0)


@contextlib.contextmanager
def _stopped_by_ctrl_c(session: TalkSession) -> Iterator[None]:
    """The first Ctrl-C ends the session; the next one ends the command."""
    loop = asyncio.get_running_loop()

    def stop() -> None:
        session.stop()
        loop.remove_signal_handler(signal.SIGINT)

    loop.add_signal_handler(signal.SIGINT, stop)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGINT)


def _complain(problem: object, code: int) -> int:
    """Say on the error output what went wrong."""
    print(f"alfred-voice talk: {problem}", file=sys.stderr)
    return code
