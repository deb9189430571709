"""``alfred-voice bench overload``: its figures as values, its clients at a played door, and a small real run."""

from __future__ import annotations

import argparse
import asyncio
import json
import math
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from alfred_voice.bench import overload
from alfred_voice.bench.arrivals import Arrivals, Crowding, check_sessions
from alfred_voice.bench.errors import BenchmarkFailed
from alfred_voice.bench.overload import Overload
from alfred_voice.bench.script import Script
from alfred_voice.cli import main
from alfred_voice.clock import SystemClock


def parse(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    overload.add_arguments(parser)
    return parser.parse_args(words)


def test_the_usual_run_is_a_minute_of_five_times_sixteen_sessions() -> None:
    args = parse()
    assert (args.sessions, args.times, args.seconds, args.duty) == (16, 5.0, 60.0, 0.4)


@pytest.mark.parametrize(("sessions", "times", "clients"), [(16, 5.0, 80), (3, 0.1, 1), (10, 1.26, 13)])
def test_so_many_clients_come(sessions: int, times: float, clients: int) -> None:
    assert check_sessions(sessions, times) == clients


@pytest.mark.parametrize(("sessions", "times"), [(0, 5.0), (16, 0.0), (16, -1.0)])
def test_nobody_at_all_is_refused(sessions: int, times: float) -> None:
    with pytest.raises(BenchmarkFailed, match="at least one session"):
        check_sessions(sessions, times)


def found(**fields: object) -> Overload:
    whole: dict[str, object] = {
        "polls": [(0.1, 0, 10.0, 200.0, "healthy"), (0.2, 1, 90.0, 240.0, "stressed"), (0.3, 1, 95.0, 220.0, "ill")],
        "lag_p99_ms": 50.0, "healthy_after_s": 4.0, "finals_after_s": 2.0, "before_mb": 200.0, "after_mb": 210.0,
    }  # fmt: skip
    return Overload(**{**whole, **fields})  # type: ignore[arg-type]


def missed(what: Overload) -> list[str]:
    return [check.name for check in overload._checks(what) if not check.holds]


def test_rungs_are_told_with_the_moment_at_which_they_were_first_seen() -> None:
    assert found().rungs == {0: 0.1, 1: 0.2}
    assert found().peak_mb == 240.0


def test_a_run_in_which_all_is_well_misses_nothing_but_the_rungs_that_it_did_not_see() -> None:
    assert missed(found()) == ["rungs seen"]
    assert missed(found(polls=[(float(rung), rung, 1.0, 1.0, "healthy") for rung in range(6)])) == []


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"lag_p99_ms": 101.0}, "event loop's lag, p99"),
        ({"lag_p99_ms": math.nan}, "event loop's lag, p99"),
        ({"healthy_after_s": 10.1}, "healthy after the last frame"),
        ({"healthy_after_s": math.nan}, "healthy after the last frame"),
        ({"after_mb": 221.0}, "growth of memory"),
        ({"arrivals": Arrivals(unexplained=1)}, "refusals without Retry-After"),
    ],
)
def test_each_target_can_be_missed(fields: dict[str, object], name: str) -> None:
    assert name in missed(found(**fields))


def test_the_report_can_be_printed_and_written_without_a_single_session() -> None:
    for table in overload._tables(found(), clients=80):
        assert table.text()
        json.dumps(table.to_json(), allow_nan=False)


async def test_health_that_comes_back_is_dated_by_the_last_moment_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    what = found(
        polls=[(10.0, 5, 99.0, 1.0, "overloaded"), (12.5, 0, 1.0, 1.0, "stressed"), (13.6, 0, 1.0, 1.0, "healthy")]
    )
    monkeypatch.setattr(overload, "POLL_S", 0.001)
    assert await overload._healthy_again(what, 10.0, SystemClock().now() + 5) == pytest.approx(2.5)
    ill = found(polls=[(10.0, 5, 99.0, 1.0, "overloaded")])
    assert math.isnan(await overload._healthy_again(ill, 10.0, SystemClock().now() + 0.05))


# Clients at a door that a test plays


@pytest.fixture
async def refusing_door() -> AsyncIterator[tuple[str, int]]:
    """A server that answers every handshake with 503, with a Retry-After to every second one."""
    count = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        count += 1
        await reader.readuntil(b"\r\n\r\n")
        retry = b"Retry-After: 1\r\n" if count % 2 else b""
        writer.write(
            b"HTTP/1.1 503 Service Unavailable\r\n" + retry + b"Content-Length: 0\r\nConnection: close\r\n\r\n"
        )
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    yield "127.0.0.1", server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()


async def test_who_is_refused_comes_again_when_told_to_and_is_counted(refusing_door: tuple[str, int]) -> None:
    clock = SystemClock()
    crowding = Crowding(clock, refusing_door, [Script((b"",) * 50, (), 0)] * 2, spread_s=0.1)
    now = clock.now()
    arrivals = await crowding.run(now, now + 1.5)
    await crowding.finish()
    assert arrivals.never_in == 2
    assert arrivals.visits == []
    assert arrivals.refused["503"] == 4, "each at once, and once more after a second"
    assert arrivals.unexplained == 2


@pytest.mark.slow
@pytest.mark.end_to_end
@pytest.mark.models
def test_a_small_overload_of_a_real_daemon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scripted: list[str], recordings: Path
) -> None:
    for name in ("WARM_UP_S", "REST_S", "AFTERWARDS_S"):
        monkeypatch.setattr(overload, name, 1.0)
    out = tmp_path / "out.json"
    words = ["--sessions", "2", "--times", "2", "--seconds", "4", "--audio", str(recordings), "--json", str(out)]
    assert main(["bench", "overload", *words, *scripted]) == 0
    report = json.loads(out.read_text("utf-8"))
    account = {row["what"]: row["count"] for row in report["tables"][1]["rows"]}
    assert account["clients that came"] == account["let in"] == 4
    assert account["frames not accounted for"] == account["finals lost"] == account["sessions without an end"] == 0
    assert account["frames sent"] > 300


@pytest.mark.parametrize("seconds", ["-1", "0", "nan"])
def test_a_load_lasts_for_some_time(seconds: str, capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    overload.add_arguments(parser)
    with pytest.raises(SystemExit):
        parser.parse_args(["--seconds", seconds])
    assert "expected a number above 0" in capsys.readouterr().err
