"""Recordings that go up, transcripts that come down, and the code that the page shows."""

from __future__ import annotations

import asyncio
import json
import re
import sys
import wave
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.sounds import Int16, silence
from tests.support import Daemon, clean_environment, word_error_rate, word_errors


pytest.importorskip("playwright", reason="needs the extra `browser`")

from playwright.async_api import Page, expect


OpenPage = Callable[..., Awaitable[Page]]
Microphone = Callable[..., Path]

STAMP = r"\d\d:\d\d:\d\d[.,]\d{3}"


def write_wav(path: Path, samples: Int16) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(samples.astype("<i2").tobytes())
    return path


async def upload(page: Page, path: Path) -> None:
    await page.locator("#file").set_input_files(path)
    await expect(page.locator("#transcript .heading").last).to_contain_text("done", timeout=60_000)


async def download(page: Page, kind: str) -> tuple[str, str]:
    """A file's name and text."""
    async with page.expect_download() as pending:
        await page.get_by_role("button", name=kind, exact=True).click()
    got = await pending.value
    path = await got.path()
    return got.suggested_filename, await asyncio.to_thread(path.read_text, encoding="utf-8")


def milliseconds(stamp: str) -> int:
    hours, minutes, seconds, rest = map(int, re.split(r"[:.,]", stamp))
    return ((hours * 60 + minutes) * 60 + seconds) * 1000 + rest


@pytest.fixture
def recording(two_cities: Int16, tmp_path: Path) -> Path:
    return write_wav(tmp_path / "two cities.wav", two_cities)


async def test_a_recording_is_transcribed_and_can_be_taken_along(
    open_page: OpenPage, recording: Path, two_cities_text: str
) -> None:
    page = await open_page()
    for kind in ("TXT", "SRT", "VTT", "JSON"):
        await expect(page.get_by_role("button", name=kind, exact=True)).to_be_disabled()
    await upload(page, recording)
    shown = " ".join(await page.locator("#transcript .heard .words").all_text_contents())
    assert word_error_rate(two_cities_text, shown) <= 0.1
    await expect(page.locator("#work")).to_be_hidden()

    name, text = await download(page, "TXT")
    assert name == "two cities.txt"
    assert word_errors(shown, text) == 0

    name, data = await download(page, "JSON")
    assert name == "two cities.json"
    segments = json.loads(data)["segments"]
    assert [segment["text"] for segment in segments] == text.splitlines()
    assert all(segment["words"] for segment in segments)

    for kind, point, head in (("SRT", ",", "1\n"), ("VTT", ".", "WEBVTT\n\n")):
        name, subtitles = await download(page, kind)
        assert name == f"two cities.{kind.lower()}"
        assert subtitles.startswith(head)
        cues = re.findall(rf"({STAMP}) --> ({STAMP})\n(.+?)\n\n", subtitles, re.DOTALL)
        assert word_errors(text, " ".join(words for _, _, words in cues)) == 0
        times = [milliseconds(stamp) for begin, end, _ in cues for stamp in (begin, end)]
        assert times == sorted(times)
        assert 40_000 < times[-1] < 45_000
        assert all(point in begin for begin, _, _ in cues)
        for _, _, words in cues:
            assert len(words.splitlines()) <= 2
            assert max(map(len, words.splitlines())) <= 60


async def test_progress_is_shown_and_the_work_can_be_cancelled(
    open_page: OpenPage, two_cities: Int16, tmp_path: Path, watch: Any
) -> None:
    watch.expect("503.*/transcribe")
    page = await open_page()
    path = write_wav(tmp_path / "long.wav", np.tile(two_cities, 20))
    await page.locator("#file").set_input_files(path)

    await expect(page.locator("#work-state")).to_contain_text(re.compile(r"being transcribed, \d+ %"), timeout=60_000)
    await expect(page.locator("#work-name")).to_have_text("long.wav")
    assert 0 < float(await page.locator("#work-progress").evaluate("(bar) => bar.value")) <= 1
    await page.get_by_role("button", name="Cancel").click()
    await expect(page.locator("#work")).to_be_hidden()
    await expect(page.get_by_role("alert")).to_be_hidden()
    # The daemon lets go of it, as soon as it notices: then the next one is taken.
    short = write_wav(tmp_path / "short.wav", two_cities[: 5 * 16_000])
    done = page.locator("#transcript .heading", has_text="short.wav: done")
    async with asyncio.timeout(60):
        while not await done.count():
            await page.locator("#file").set_input_files(short)
            await expect(page.locator("#work")).to_be_hidden()


async def test_what_is_no_recording_is_told(open_page: OpenPage, tmp_path: Path, watch: Any) -> None:
    watch.expect("415.*/transcribe")
    page = await open_page()
    path = tmp_path / "notes.wav"
    path.write_text("These are notes and no sound.")
    await page.locator("#file").set_input_files(path)

    notice = page.get_by_role("alert")
    await expect(notice).to_have_attribute("data-code", "audio_unsupported")
    await expect(page.locator("#drop")).to_be_visible()


async def test_a_conversation_can_be_taken_along_with_both_sides(
    open_page: OpenPage, microphone: Microphone, sentence: Int16
) -> None:
    page = await open_page(hearing=microphone(sentence, silence(10)))
    await page.get_by_label("Say back what I say").check()
    await page.get_by_role("button", name="Talk", exact=True).click()
    await expect(page.locator("#transcript .said .note").last).to_have_text(re.compile(r"^\d+\.\d s$"))

    name, text = await download(page, "TXT")
    assert name == "conversation.txt"
    spoken = re.findall(r"^You: (.+)$", text, re.MULTILINE)
    assert spoken
    assert spoken == re.findall(r"^Alfred: (.+)$", text, re.MULTILINE)
    _, subtitles = await download(page, "VTT")
    assert "<v Alfred>" in subtitles

    await page.get_by_role("button", name="Clear").click()
    await expect(page.locator("#transcript li")).to_have_count(0)
    await expect(page.get_by_role("button", name="TXT", exact=True)).to_be_disabled()


DROP = """(names) => {
  const files = new DataTransfer();
  for (const [name, bytes] of names) files.items.add(new File([new Uint8Array(bytes)], name));
  for (const type of ["dragover", "drop"]) {
    const event = new DragEvent(type, { dataTransfer: files, bubbles: true, cancelable: true });
    document.querySelector("header").dispatchEvent(event);
    if (!event.defaultPrevented) throw new Error(`the browser takes ${type}, and leaves the page`);
  }
}"""


async def test_recordings_that_are_dropped_anywhere_are_taken_one_after_the_other(
    open_page: OpenPage, two_cities: Int16, tmp_path: Path
) -> None:
    page = await open_page()
    short = list(write_wav(tmp_path / "a.wav", two_cities[: 4 * 16_000]).read_bytes())
    still = list(write_wav(tmp_path / "b.wav", silence(3)).read_bytes())
    await page.evaluate(DROP, [["conversation", short], ["still.wav", still], ["conversation", short]])

    headings = page.locator("#transcript .heading")
    await expect(headings.last).to_contain_text("conversation (2): done", timeout=60_000)
    await expect(headings.filter(has_text="still.wav: no speech found")).to_have_count(1)
    assert await page.locator("#source option").all_text_contents() == ["conversation", "conversation (2)"]


async def test_the_talk_and_recordings_stand_beside_each_other(
    open_page: OpenPage, two_cities: Int16, tmp_path: Path, watch: Any, daemon: Daemon
) -> None:
    watch.expect("415.*/transcribe")
    page = await open_page()
    await page.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=daemon.base)
    field = page.get_by_label("A sentence for Alfred to say")
    await field.fill("Good morning.")
    await page.keyboard.press("Enter")
    await expect(page.locator("#transcript .said .note")).to_have_text(re.compile(r"^\d+\.\d s$"))
    notes: Any = {"name": "notes.wav", "mimeType": "audio/wav", "buffer": b"no sound"}
    await page.locator("#file").set_input_files(notes)
    await expect(page.get_by_role("alert")).to_be_visible()
    await expect(page.locator("#transcript .heading").last).to_have_text("notes.wav: failed")
    path = write_wav(tmp_path / "conversation", two_cities[: 4 * 16_000])
    await upload(page, path)

    await expect(page.get_by_role("alert")).to_be_hidden()
    recording = (await download(page, "TXT"))[1]
    assert "Good morning" not in recording
    await page.locator("#source").select_option("Conversation")
    assert (await download(page, "TXT"))[1] == "Alfred: Good morning.\n"
    await page.get_by_role("button", name="Copy the text").click()
    await expect(page.locator("#copy-text")).to_have_text("Copied")
    assert await page.evaluate("navigator.clipboard.readText()") == "Alfred: Good morning.\n"
    await field.fill("Again.")
    await page.keyboard.press("Enter")
    await expect(page.locator("#transcript .heading").last).to_have_text("The conversation")


async def test_without_a_clipboard_the_text_is_selected(open_page: OpenPage) -> None:
    page = await open_page()
    await page.evaluate("Object.defineProperty(navigator, 'clipboard', { value: undefined })")
    code = await code_in(page, "curl")
    await page.get_by_role("button", name="Copy", exact=True).click()

    await expect(page.locator("#copy-code")).to_have_text("Press Ctrl+C")
    assert await page.evaluate("getSelection().toString()") == code
    await expect(page.locator("#said")).to_contain_text("Ctrl+C")


async def test_a_conversation_outlives_a_reload(open_page: OpenPage) -> None:
    page = await open_page()
    await expect(page.locator("#bring-back")).to_be_hidden()
    field = page.get_by_label("A sentence for Alfred to say")
    await field.fill("Good morning.")
    await page.keyboard.press("Enter")
    await expect(page.locator("#transcript .said .note")).to_have_text(re.compile(r"^\d+\.\d s$"))
    before = await download(page, "JSON")
    await page.reload()
    await page.get_by_role("button", name="Bring back the last conversation").click()

    await expect(page.locator("#transcript .said .words")).to_have_text("Good morning.")
    assert await download(page, "JSON") == before
    await page.get_by_role("button", name="Clear").click()
    await expect(page.locator("#empty")).to_be_visible()
    await expect(page.locator("#bring-back")).to_be_hidden()
    await page.reload()
    await expect(page.locator("#bring-back")).to_be_hidden()


async def code_in(page: Page, language: str) -> str:
    await page.get_by_role("tab", name=language).click()
    text = await page.locator("#code").text_content()
    assert text
    return text


async def run(*command: str, folder: Path) -> str:
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=folder,
        env=clean_environment(),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return out.decode()


async def test_the_code_in_python_runs(
    open_page: OpenPage, sentence: Int16, sentence_text: str, tmp_path: Path
) -> None:
    page = await open_page()
    write_wav(tmp_path / "speech.wav", sentence)

    said = await run(sys.executable, "-c", await code_in(page, "Python"), folder=tmp_path)

    assert word_error_rate(sentence_text, said) <= 0.1


async def test_the_code_for_curl_runs(open_page: OpenPage, sentence: Int16, sentence_text: str, tmp_path: Path) -> None:
    page = await open_page()
    write_wav(tmp_path / "speech.wav", sentence)

    out = await run("bash", "-euc", await code_in(page, "curl"), folder=tmp_path)

    lines = [json.loads(line) for line in out.split("\n") if line.startswith("{")]
    result = next(line for line in lines if line.get("type") == "result")
    assert word_error_rate(sentence_text, result["text"]) <= 0.1
    assert "pipelineState" in lines[-1]
    with wave.open(str(tmp_path / "hello.wav")) as hello:
        assert hello.readframes(16_000).strip(b"\0")


async def test_the_code_in_javascript_runs(
    open_page: OpenPage, sentence: Int16, sentence_text: str, microphone: Microphone
) -> None:
    page = await open_page(hearing=microphone(sentence, silence(5)), bypass_csp=True)
    code = await code_in(page, "JavaScript")
    await page.set_content(f"<!doctype html><html lang=en><title>Mine</title><body>{code}")
    await page.get_by_role("button", name="Talk").click()

    await expect(page.locator("#text")).to_contain_text("It was the best of times")


async def test_the_code_can_be_copied(open_page: OpenPage, daemon: Daemon) -> None:
    page = await open_page()
    await page.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=daemon.base)
    code = await code_in(page, "curl")
    await page.get_by_role("button", name="Copy", exact=True).click()

    await expect(page.locator("#copy-code")).to_have_text("Copied")
    assert await page.evaluate("navigator.clipboard.readText()") == code
    assert daemon.base in code
