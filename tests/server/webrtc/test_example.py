"""The example of docs/webrtc.md does what it says."""

from __future__ import annotations

import re
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.rtc_client import on_this_machine
from tests.server.webrtc.test_routes import silence, speech


__all__ = ["on_this_machine"]  # a fixture

PAGE = Path(__file__).parents[3] / "docs" / "webrtc.md"

pytestmark = pytest.mark.usefixtures("on_this_machine")


async def test_a_recording_is_published_by_the_lines_on_the_page(
    door: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    example: dict[str, Any] = {"__name__": "example"}
    exec(compile(code, PAGE, "exec"), example)  # noqa: S102  our own page
    recording = tmp_path / "recording.wav"
    with wave.open(str(recording), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(np.concatenate([silence(300), speech(800), silence(1_200)]).tobytes())

    await example["publish"](f"http://127.0.0.1:{door.port}", str(recording))

    assert capsys.readouterr().out.splitlines() == ["turn on the lamp"]
    assert door.coordinator.roster.all() == []
