"""The parts of the JavaScript client that are arithmetic: its filter, its tape, its files."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import pytest_asyncio


pytest.importorskip("playwright", reason="needs the extra `browser`")

from playwright.async_api import Page


OpenPage = Callable[..., Awaitable[Page]]

RESAMPLE = """async ({ rate, tone, piece }) => {
  const { Resampler } = await import("/static/alfred-voice-resampler.js");
  const resampler = new Resampler(rate, 16000);
  const samples = Float32Array.from({ length: rate }, (_, i) => Math.sin((2 * Math.PI * tone * i) / rate));
  const out = [];
  for (let i = 0; i < samples.length; i += piece) out.push(...resampler.process(samples.slice(i, i + piece)));
  const middle = out.slice(2000, 14000);
  const of = (f) => middle.reduce((sum, x, i) => sum + x * f((2 * Math.PI * tone * (i + 2000)) / 16000), 0);
  const amplitude = (2 * Math.hypot(of(Math.sin), of(Math.cos))) / middle.length;
  const power = middle.reduce((sum, x) => sum + x * x, 0) / middle.length;
  return { count: out.length, amplitude, rms: Math.sqrt(power), first: out.slice(0, 200) };
}"""


@pytest_asyncio.fixture(loop_scope="session")
async def page(open_page: OpenPage) -> Page:
    return await open_page()


@pytest.mark.parametrize("rate", [48_000, 44_100, 96_000, 16_000, 22_050, 8_000])
async def test_tones_below_the_half_rate_go_through_as_they_are(page: Page, rate: int) -> None:
    for tone in (100, 1_000, 3_000):
        heard: dict[str, Any] = await page.evaluate(RESAMPLE, {"rate": rate, "tone": tone, "piece": 128})
        assert abs(heard["amplitude"] - 1) < 0.01
        assert abs(heard["rms"] - 0.5**0.5) < 0.01
        assert 16_000 - 80 <= heard["count"] <= 16_000


@pytest.mark.parametrize("rate", [48_000, 44_100, 96_000])
@pytest.mark.parametrize("tone", [8_300, 11_000, 15_900, 16_100, 20_000])
async def test_tones_above_the_half_rate_are_gone_and_do_not_come_back_as_others(
    page: Page, rate: int, tone: int
) -> None:
    heard = await page.evaluate(RESAMPLE, {"rate": rate, "tone": tone, "piece": 128})

    assert heard["rms"] < 10 ** (-60 / 20)


async def test_pieces_of_any_length_give_the_same_samples(page: Page) -> None:
    whole = await page.evaluate(RESAMPLE, {"rate": 44_100, "tone": 440, "piece": 44_100})
    for piece in (1, 7, 128, 4_096):
        assert await page.evaluate(RESAMPLE, {"rate": 44_100, "tone": 440, "piece": piece}) == whole


async def test_the_tape_keeps_what_has_not_been_acknowledged_and_sends_it_again(page: Page) -> None:
    sent = await page.evaluate(
        """async () => {
          const { Tape } = await import("/static/alfred-voice-tape.js");
          const tape = new Tape(10);
          const all = () => {
            const got = [];
            for (let piece = tape.next(); piece; piece = tape.next()) got.push(...piece);
            return got;
          };
          const piece = (...bytes) => tape.append(Uint8Array.of(...bytes));
          const kept = [piece(0, 1, 2, 3), piece(4, 5, 6, 7)];
          const first = all();
          kept.push(piece(8, 9, 10));           // twelve bytes would not fit
          tape.acknowledge(5);                  // the daemon has 0 to 4
          kept.push(piece(8, 9), piece(10, 11));
          const waiting = tape.waiting;
          const second = all();
          tape.rewind(6);                       // after a loss it has 0 to 5
          const third = all();
          tape.rewind(8);
          tape.restart();                       // another session: what is kept is its beginning
          return { kept, first, waiting, second, third, fourth: all(), sent: tape.sent };
        }"""
    )
    assert sent["kept"] == [True, True, False, True, True]
    assert sent["first"] == [0, 1, 2, 3, 4, 5, 6, 7]
    assert sent["waiting"] == 4
    assert sent["second"] == [8, 9, 10, 11]
    assert sent["third"] == [6, 7, 8, 9, 10, 11]
    assert (sent["fourth"], sent["sent"]) == ([8, 9, 10, 11], 4)


async def test_files_of_a_transcript(page: Page) -> None:
    files = await page.evaluate(
        """async () => {
          const { FORMATS, Transcript } = await import("/static/transcript.js");
          const transcript = new Transcript("x");
          const text = "one <b>two</b> & three";
          const timed = (word, i) => ({ word, start_ms: 100 * i, end_ms: 100 * i + 90 });
          const words = text.split(" ").map(timed);
          transcript.add({ text, start_ms: 0, end_ms: 390, words });
          transcript.add({ text: "word ".repeat(30).trim(), start_ms: 1000, end_ms: 4000 });
          transcript.add({ text: "later", start_ms: 0, end_ms: 500, speaker: "daemon", broken: "cut" }, 3604000);
          transcript.add({ text: "between", start_ms: 10, end_ms: 20 }, 2000);
          return Object.fromEntries(Object.entries(FORMATS).map(([name, { render }]) => [name, render(transcript)]));
        }"""
    )
    assert files["txt"].splitlines()[0] == "You: one <b>two</b> & three"
    assert files["txt"].splitlines()[2:] == ["You: between", "Alfred: later [cut off]"]
    cues = files["srt"].split("\n\n")
    assert cues[0] == "1\n00:00:00,000 --> 00:00:00,390\nYou: one <b>two</b> & three"
    assert cues[1].splitlines()[1] == "00:00:01,000 --> 00:00:02,700"  # 17 of 30 words: 84 characters
    assert "01:00:04,000 --> 01:00:04,500\nAlfred: later [cut off]" in files["srt"]
    assert "00:00:02,000 --> 00:00:02,010\nYou: between" in files["srt"]
    assert "<v You>one &lt;b&gt;two&lt;/b&gt; &amp; three" in files["vtt"]
    assert '"speaker": "daemon"' in files["json"]


async def test_the_clock_of_audio_says_when_something_was_recorded(page: Page) -> None:
    moments = await page.evaluate(
        """async () => {
          const { AudioClock } = await import("/static/alfred-voice-clock.js");
          const clock = new AudioClock();
          const told = [clock.momentOf(0)];
          for (let ms = 0; ms < 1000; ms += 20) clock.flow(ms, 5000 + ms + (ms % 7));  // a browser is not punctual
          for (let ms = 1000; ms < 2000; ms += 20) clock.flow(ms, 60000 + ms);          // the microphone was closed
          told.push(clock.momentOf(0), clock.momentOf(500), clock.momentOf(1000), clock.momentOf(1500));
          clock.restart(1200);              // another session, which begins with what the first had not taken
          told.push(clock.momentOf(0), clock.momentOf(300));
          return told;
        }"""
    )
    assert moments == [None, 5000, 5500, 61_000, 61_500, 61_200, 61_500]
