"""The microphone and the loudspeaker on a stand-in for the sound package: tests have no sound card."""

from __future__ import annotations

import asyncio
import sys
import types
from collections.abc import Callable
from typing import Any

import pytest

from alfred_voice.client.errors import SoundDeviceMissing
from alfred_voice.client.sound import Loudspeaker, describe_devices, microphone, sound_package


class FakeStream:
    """Keeps how it was opened; the test calls its callback, as PortAudio's thread would."""

    def __init__(self, callback: Callable[..., None], **options: Any) -> None:
        if options.get("device") == "broken":
            raise ValueError("No input device matching 'broken'")
        self.callback = callback
        self.options = options
        self.state = "new"
        opened.append(self)

    def start(self) -> None:
        self.state = "started"

    def close(self) -> None:
        self.state = "closed"

    def __enter__(self) -> FakeStream:
        self.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()


opened: list[FakeStream] = []


@pytest.fixture(autouse=True)
def package(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    opened.clear()
    module = types.ModuleType("sounddevice")
    vars(module).update(
        RawInputStream=FakeStream,
        RawOutputStream=FakeStream,
        PortAudioError=type("PortAudioError", (Exception,), {}),
        query_devices=lambda: "0 microphone",
    )
    monkeypatch.setitem(sys.modules, "sounddevice", module)
    return module


async def test_the_microphone_gives_frames_of_20_ms_in_order() -> None:
    async with microphone() as frames:
        stream = opened[0]
        for n in range(3):
            stream.callback(bytes([n]) * 640, 320, None, None)
        heard = [await asyncio.wait_for(anext(frames), 5) for _ in range(3)]
        state = stream.state

    assert heard == [bytes([n]) * 640 for n in range(3)]
    assert state == "started"
    assert stream.state == "closed"
    assert (stream.options["samplerate"], stream.options["blocksize"], stream.options["channels"]) == (16_000, 320, 1)
    assert stream.options["dtype"] == "int16"


async def test_a_slow_taker_loses_the_oldest_frames_not_the_newest() -> None:
    async with microphone() as frames:
        for n in range(503):
            opened[0].callback(n.to_bytes(2, "little"), 1, None, None)
        await asyncio.sleep(0.01)
        first = await asyncio.wait_for(anext(frames), 5)
    assert int.from_bytes(first, "little") == 3


@pytest.mark.parametrize(("asked", "wanted"), [(None, None), ("2", 2), ("USB", "USB")])
async def test_a_device_is_named_by_number_or_name(asked: str | None, wanted: int | str | None) -> None:
    async with microphone(asked):
        assert opened[0].options["device"] == wanted


async def test_a_device_that_cannot_be_opened_is_said_with_its_name() -> None:
    with pytest.raises(SoundDeviceMissing, match=r"microphone 'broken' .* --devices"):
        async with microphone("broken"):
            pytest.fail("it cannot be open")


def test_the_loudspeaker_plays_what_it_is_given_and_silence_after() -> None:
    with Loudspeaker() as loudspeaker:
        loudspeaker.put(b"\1\2\3\4\5\6")
        first, second, third = bytearray(4), bytearray(4), bytearray(4)
        for out in (first, second, third):
            opened[0].callback(out, 2, None, None)
    assert (bytes(first), bytes(second), bytes(third)) == (b"\1\2\3\4", b"\5\6\0\0", b"\0\0\0\0")
    assert opened[0].state == "closed"


def test_a_hushed_loudspeaker_forgets_what_waits() -> None:
    with Loudspeaker(24_000) as loudspeaker:
        loudspeaker.put(b"\1" * 100)
        loudspeaker.hush()
        out = bytearray(4)
        opened[0].callback(out, 2, None, None)
        loudspeaker.put(b"\2" * 4)
        after = bytearray(4)
        opened[0].callback(after, 2, None, None)
    assert (bytes(out), bytes(after)) == (b"\0" * 4, b"\2" * 4)
    assert opened[0].options["samplerate"] == 24_000


def test_devices_are_described() -> None:
    assert describe_devices() == "0 microphone"


def test_a_missing_package_names_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(SoundDeviceMissing, match=r"pip install -e '\.\[mic\]'"):
        sound_package()


def test_a_missing_library_is_told_apart_from_a_missing_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    (tmp_path / "sounddevice.py").write_text("raise OSError('PortAudio library not found')\n")
    monkeypatch.delitem(sys.modules, "sounddevice")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(SoundDeviceMissing, match=r"PortAudio library not found.* apt install libportaudio2"):
        sound_package()
