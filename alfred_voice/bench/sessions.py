"""``alfred-voice bench sessions``: the daemon under many clients at once."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from alfred_voice.bench.caller import CallRefused
from alfred_voice.bench.daemon import RunningDaemon, daemon_arguments, running_daemon
from alfred_voice.bench.errors import BenchmarkFailed
from alfred_voice.bench.level import Level, run_level, wait_until_calm
from alfred_voice.bench.limits import MEASURES, broken, checks_of, limits_of
from alfred_voice.bench.load import Crowd, run_event_loop
from alfred_voice.bench.machine import describe_machine
from alfred_voice.bench.pacing import FRAME_S
from alfred_voice.bench.report import Check, Report
from alfred_voice.bench.script import Mix, ScriptOptions, Turn, complete_turns, turns_of
from alfred_voice.bench.session_tables import Section, level_section, ramp_section


if TYPE_CHECKING:
    from alfred_voice.config import Config

HELP = """\
A daemon of its own under many clients at once, each with its own 20 ms frames, due at moments that are fixed
beforehand and never wait for the daemon.

Delays are counted from when audio was due to be sent to when the client is told. Frame age: from the frame that
completes a detector's window to the verdict. Partial lag: from the last sample that a partial is about. Final and turn
latency: from the last sample of speech. Interruption: from the first sample of the turn that is spoken over the
daemon's own.

Without --mix there are two runs: 500 listeners, then 16 sessions that speak 40 % of the time."""

DEFAULT_SESSIONS = {Mix.LISTEN: 500, Mix.TALK: 8, Mix.MIXED: 16}
DEFAULT_MIXES = (Mix.LISTEN, Mix.MIXED)
COMPLETE_TURNS, ALL_TURNS = "complete", "all"
MOST_SESSIONS = 2_000
"""Where a ramp ends that was not told."""
SPARE_SESSIONS = 16
"""More than there are clients, so that sessions which are about to end keep nobody out."""
SPARE_FILES = 256
EXAMPLES = """\
examples:
  alfred-voice bench sessions --mix listen --sessions 500 --seconds 60 --check
  alfred-voice bench sessions --mix mixed --duty 0.4 --speak
  alfred-voice bench sessions --mix listen --ramp 100,100 --seconds 20 --limit frame_age_p99=40 --plot cost.svg"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    parser.epilog = EXAMPLES
    parser.add_argument("--mix", type=Mix, choices=list(Mix), help="what the clients do")
    parser.add_argument(
        "--sessions", type=int, metavar="N", help="how many (500 listen, 8 talk, 16 mixed); of a ramp, the most"
    )
    parser.add_argument("--seconds", type=float, default=60.0, metavar="S", help="how long, for each level (60)")
    parser.add_argument("--duty", type=float, default=0.4, metavar="SHARE", help="of the time is speech, mixed (0.4)")
    parser.add_argument(
        "--turns",
        choices=(COMPLETE_TURNS, ALL_TURNS),
        default=COMPLETE_TURNS,
        help="what is said: turns after which the turn model takes the speaker for done (the default), so that no "
        "delay is the daemon's own decision to wait; or all, cut at any pause",
    )
    parser.add_argument("--speak", action="store_true", help="the daemon speaks when a turn begins: interruptions")
    parser.add_argument(
        "--ramp", type=_ramp, metavar="START,STEP", help="begin with START sessions, add STEP until a limit breaks"
    )
    parser.add_argument(
        "--limit",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help=f"what must not be exceeded, instead of the usual; may be repeated ({', '.join(MEASURES)})",
    )
    parser.add_argument(
        "--sample", type=int, default=8, metavar="N", help="sessions that ask for the verdict on every frame (8)"
    )
    parser.add_argument(
        "--warm-up", type=float, default=3.0, metavar="S", help="beginning that is not counted among the delays (3)"
    )
    parser.add_argument("--processes", type=int, default=1, metavar="N", help="that the generator is spread over (1)")


def run(args: argparse.Namespace, config: Config) -> Report:
    """Measure each mix."""
    mixes = [args.mix] if args.mix is not None else DEFAULT_MIXES
    _check(args, mixes)
    turns = _turns(args, config) if set(mixes) != {Mix.LISTEN} else []
    sections = [run_event_loop(_Mix(args, mix, turns).measure()) for mix in mixes]
    return Report(
        "sessions",
        args.command_line,
        describe_machine(),
        tuple(table for section in sections for table in section.tables),
        tuple(curve for section in sections for curve in section.curves),
        tuple(check for section in sections for check in section.checks),
    )


@dataclass(frozen=True, slots=True)
class _Mix:
    """All levels of one mix, on one daemon."""

    args: argparse.Namespace
    mix: Mix
    turns: Sequence[Turn]

    async def measure(self) -> Section:
        """Run the level, or all levels up to the one that breaks a limit."""
        limits = limits_of(self.mix, self.args.limit)
        most = self._most()
        _allow_files(most + SPARE_FILES)
        overrides = [f"sessions.max_concurrent={most + SPARE_SESSIONS}"]
        async with running_daemon(overrides, arguments=daemon_arguments(self.args)) as daemon:
            if self.args.ramp is None:
                level = await self._level(daemon, most)
                return level_section(self.mix, level, checks_of(level, limits, self.mix))
            levels, refusal = await self._climb(daemon, most, limits)
        held = [level.sessions for level in levels if not broken(level, limits)]
        start, _ = self.args.ramp
        reached = Check(f"{self.mix}, sessions within the limits", float(max(held, default=0)), start, "", False)
        return ramp_section(self.mix, levels, limits, reached, refusal)

    async def _climb(self, daemon: RunningDaemon, most: int, limits: dict[str, float]) -> tuple[list[Level], str]:
        """Each level in turn until a limit breaks; and what the daemon said if it took no more sessions."""
        start, step = self.args.ramp
        levels: list[Level] = []
        for sessions in range(start, most + 1, step):
            try:
                levels.append(await self._level(daemon, sessions))
            except CallRefused as exc:
                return levels, f"{sessions} sessions: {exc}"
            if broken(levels[-1], limits):
                break
            await wait_until_calm(daemon)
        return levels, ""

    async def _level(self, daemon: RunningDaemon, sessions: int) -> Level:
        args = self.args
        crowd = Crowd(sessions, args.processes, args.sample, min(args.warm_up, args.seconds / 2))
        return await run_level(daemon, crowd, _options(args, self.mix), self.turns)

    def _most(self) -> int:
        if self.args.sessions is not None:
            return int(self.args.sessions)
        return DEFAULT_SESSIONS[self.mix] if self.args.ramp is None else MOST_SESSIONS


def _turns(args: argparse.Namespace, config: Config) -> list[Turn]:
    """What the clients say: the turns of the recordings, or those of them that are complete."""
    from alfred_voice import workshop
    from alfred_voice.bench.recordings import load_recordings

    store = workshop.open_store(config)
    turns = turns_of(load_recordings(store, args.audio))
    if args.turns == ALL_TURNS:
        return turns
    return complete_turns(turns, workshop.build_turn(config, store), config.turn.threshold) or turns


def _options(args: argparse.Namespace, mix: Mix) -> ScriptOptions:
    return ScriptOptions(mix, round(args.seconds / FRAME_S), args.duty, args.speak)


def _check(args: argparse.Namespace, mixes: Sequence[Mix]) -> None:
    """Refuse what makes no sense before anything is started."""
    for name, least in (("sessions", 1), ("seconds", 1), ("sample", 0), ("warm_up", 0), ("processes", 1)):
        value = getattr(args, name)
        if value is not None and value < least:
            raise BenchmarkFailed(f"--{name.replace('_', '-')}: expected at least {least}, got {value:g}")
    for mix in mixes:
        limits_of(mix, args.limit)
        _options(args, mix)


def _ramp(text: str) -> tuple[int, int]:
    """``START,STEP`` as numbers."""
    start, _, step = text.partition(",")
    if not (start.isdecimal() and step.isdecimal() and int(start) and int(step)):
        raise argparse.ArgumentTypeError(f"expected two numbers above 0, such as 100,100, got {text!r}")
    return int(start), int(step)


def _allow_files(count: int) -> None:
    """Let this process, and the daemon that it starts, have so many connections, as far as the system allows."""
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = hard == resource.RLIM_INFINITY
    wanted = count if unlimited else min(count, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
