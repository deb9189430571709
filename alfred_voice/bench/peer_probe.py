"""Measures one package of other people, in an environment in which Alfred Voice is not installed.

Run as a script, ``python peer_probe.py NAME JOB.json``: the job names the audio (a file of int16 samples, 16 kHz, for
each recording) and how much of it is to be done; the last line of standard output is what was found, as JSON. Nothing
of Alfred Voice may be imported here. Each probe leaves out what happens once (imports, loading, the first call).
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


RATE = 16_000
FRAME = 320
WINDOW = 512
_WARM_UP_FRAMES = 50
_KB = 1024

Found = dict[str, Any]


def pipecat_vad(job: Mapping[str, Any]) -> Found:
    """Its analyser for each of several streams, which are given their 20 ms frames side by side."""
    return asyncio.run(_pipecat_vad(job))


async def _pipecat_vad(job: Mapping[str, Any]) -> Found:
    module = import_module("pipecat.audio.vad.silero")
    streams, frames = job["streams"], _frames(job)
    first = module.SileroVADAnalyzer(sample_rate=RATE)
    first.set_sample_rate(RATE)
    for frame in frames[:_WARM_UP_FRAMES]:
        await first.analyze_audio(frame)
    before = _rss_kb()
    analysers = [module.SileroVADAnalyzer(sample_rate=RATE) for _ in range(streams)]
    for analyser in analysers:
        analyser.set_sample_rate(RATE)
    for frame in frames[:_WARM_UP_FRAMES]:
        await asyncio.gather(*(analyser.analyze_audio(frame) for analyser in analysers))
    grown = _rss_kb() - before
    cpu = _cpu_s()
    for frame in frames:
        await asyncio.gather(*(analyser.analyze_audio(frame) for analyser in analysers))
    cpu = _cpu_s() - cpu
    for analyser in analysers:
        await analyser.cleanup()
    await first.cleanup()
    return {"us_per_frame": cpu * 1e6 / len(frames) / streams, "kb_per_stream": grown / streams}


def silero_vad(job: Mapping[str, Any]) -> Found:
    """The makers' own wrapper around the ONNX file, one call for each window of a stream."""
    torch = import_module("torch")
    torch.set_num_threads(1)
    model = import_module("silero_vad").load_silero_vad(onnx=True)
    samples = np.concatenate(_recordings(job)).astype(np.float32) / 32768
    windows = torch.from_numpy(samples[: len(samples) // WINDOW * WINDOW].reshape(-1, WINDOW))
    with torch.no_grad():
        for window in windows[:_WARM_UP_FRAMES]:
            model(window, RATE)
        model.reset_states()
        cpu = _cpu_s()
        for window in windows:
            model(window, RATE)
        cpu = _cpu_s() - cpu
    return {"us_per_frame": cpu * 1e6 / len(windows) * FRAME / WINDOW}


def pipecat_turn(job: Mapping[str, Any]) -> Found:
    """Its analyser, asked about the end of each recording."""
    return asyncio.run(_pipecat_turn(job))


async def _pipecat_turn(job: Mapping[str, Any]) -> Found:
    module = import_module("pipecat.audio.turn.smart_turn.local_smart_turn_v3")
    analyser = module.LocalSmartTurnAnalyzerV3(sample_rate=RATE)
    analyser.set_sample_rate(RATE)
    frames = _frames(job)
    loop, wall, cpu = asyncio.get_running_loop(), [], []
    for _ in range(job["runs"] + 1):
        for frame in frames:
            analyser.append_audio(frame, is_speech=True)
        began, used = loop.time(), _cpu_s()
        await analyser.analyze_end_of_turn()
        wall.append((loop.time() - began) * 1000)
        cpu.append((_cpu_s() - used) * 1000)
        analyser.clear()
    await analyser.cleanup()
    return {"wall_ms": float(np.median(wall[1:])), "cpu_ms": float(np.median(cpu[1:]))}


def moonshine(job: Mapping[str, Any]) -> Found:
    """The makers' own streaming transcriber as it comes, which gives the audio back and tells speakers apart, too."""
    return _moonshine(job, {})


def moonshine_text(job: Mapping[str, Any]) -> Found:
    """The same when it is told to do no more than the text."""
    return _moonshine(job, {"return_audio_data": "false", "identify_speakers": "false"})


def _moonshine(job: Mapping[str, Any], options: dict[str, str]) -> Found:
    """The transcriber with the weights of the daemon's default recogniser, given 20 ms frames one after the other."""
    package = import_module("moonshine_voice")
    streaming = import_module("moonshine_voice.transcriber")
    folder = str(package.get_model_path("tiny-en"))
    transcriber = streaming.Transcriber(
        folder, package.ModelArch.TINY, update_interval=job["interval_s"], options=options
    )
    _transcribed(transcriber, streaming, _recordings(job)[0][: 2 * RATE], asyncio.new_event_loop().time)
    clock = asyncio.new_event_loop().time
    texts, blocked, cpu = [], [], _cpu_s()
    for samples in _recordings(job):
        text, waits = _transcribed(transcriber, streaming, samples, clock)
        texts.append(text)
        blocked += waits
    cpu = _cpu_s() - cpu
    transcriber.close()
    updates = sorted(wait for wait in blocked if wait > 0.001) or [float("nan")]
    return {
        "cpu_s": cpu,
        "texts": texts,
        "blocked_p95_ms": float(np.percentile(updates, 95)) * 1000,
        "blocked_max_ms": max(blocked) * 1000,
        "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _KB,
    }


def _transcribed(
    transcriber: Any, streaming: Any, samples: NDArray[np.int16], clock: Callable[[], float]
) -> tuple[str, list[float]]:
    """The text of one recording, and how long each frame held up who gave it."""
    lines: list[str] = []

    class Listener(streaming.TranscriptEventListener):  # type: ignore[misc]
        def on_line_completed(self, event: Any) -> None:
            lines.append(event.line.text)

    stream = transcriber.create_stream()
    stream.add_listener(Listener())
    stream.start()
    waits = []
    for start in range(0, len(samples), FRAME):
        frame = (samples[start : start + FRAME].astype(np.float32) / 32768).tolist()
        began = clock()
        stream.add_audio(frame, RATE)
        waits.append(clock() - began)
    stream.stop()
    stream.close()
    return " ".join(lines), waits


PROBES: Mapping[str, Callable[[Mapping[str, Any]], Found]] = {
    "pipecat_vad": pipecat_vad,
    "silero_vad": silero_vad,
    "pipecat_turn": pipecat_turn,
    "moonshine": moonshine,
    "moonshine_text": moonshine_text,
}


def main(arguments: Sequence[str]) -> int:
    """Run the probe that the command line names."""
    name, job = arguments
    found = PROBES[name](json.loads(Path(job).read_text("utf-8")))
    sys.stdout.write(f"\n{json.dumps(found)}\n")
    return 0


def _recordings(job: Mapping[str, Any]) -> list[NDArray[np.int16]]:
    return [np.fromfile(path, np.int16) for path in job["audio"]]


def _frames(job: Mapping[str, Any]) -> list[bytes]:
    samples = np.concatenate(_recordings(job))
    return [samples[start : start + FRAME].tobytes() for start in range(0, len(samples) - FRAME + 1, FRAME)]


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _rss_kb() -> float:
    fields = Path("/proc/self/statm").read_text("ascii").split()
    return int(fields[1]) * resource.getpagesize() / _KB


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
