"""Which recognisers a configuration comes to."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from alfred_voice import config, recognisers
from alfred_voice.bench.random_whisper import random_checkpoint
from alfred_voice.config import Config
from alfred_voice.errors import ConfigError, EngineFailure, ModelMissing
from alfred_voice.models.devices import Device, Kind
from alfred_voice.models.engine import Clip
from alfred_voice.models.openai_stt import OpenAiStt
from alfred_voice.models.progress import Silent
from alfred_voice.models.store import Store
from alfred_voice.models.tiers import TieredStt
from alfred_voice.models.whisper import Whisper
from alfred_voice.models.whisper_checkpoint import Dimensions
from alfred_voice.models.whisper_export import export_whisper
from alfred_voice.models.whisper_layers import Precision


SMALL = Dimensions(80, 1500, 32, 2, 1, 51864, 448, 32, 2, 1)
SECOND = np.random.default_rng(0).normal(0, 0.05, 16_000).astype(np.float32)


def configured(*sets: str) -> Config:
    return config.load(sets=sets).config


@pytest.fixture(scope="module")
def whispers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder with two Whispers that have learnt nothing."""
    root = tmp_path_factory.mktemp("models")
    # As many tokens as the English vocabulary has; all letters, so that prompts could be written.
    words = [bytes([65 + at % 26, 65 + at // 26 % 26, 65 + at // 676 % 26, 65 + at // 17576]) for at in range(50256)]
    words[:256] = [bytes([at]) for at in range(256)]
    import base64

    lines = [base64.b64encode(word) + b" %d" % at for at, word in enumerate(words)]
    (root / "gpt2.tiktoken").write_bytes(b"\n".join(lines))
    for name, seed in (("tiny.en", 1), ("base.en", 2)):
        export_whisper(
            random_checkpoint(SMALL, seed), "", root, name, root, [Precision.INT8, Precision.FLOAT32], Silent()
        )
    return root


@pytest.fixture
def store(whispers: Path) -> Store:
    return Store(whispers)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes the machine have these devices beside its processor."""

    def has(*devices: Device) -> None:
        processor = Device("cpu", Kind.CPU, "2 cores", 4000, 8000)
        monkeypatch.setattr(recognisers, "devices_here", lambda: [processor, *devices])

    return has


class TestWhisper:
    def test_is_one_model_where_one_is_named(self, store: Store) -> None:
        stt = recognisers.build_stt(configured("stt.engine=whisper", "stt.final_model=whisper-tiny.en"), store)
        assert isinstance(stt, Whisper)
        assert stt.name == "whisper-tiny.en"

    def test_is_two_tiers_where_partials_have_a_model_of_their_own(self, store: Store) -> None:
        sets = ("stt.engine=whisper", "stt.final_model=whisper-base.en", "stt.partial_model=whisper-tiny.en")
        stt = recognisers.build_stt(configured(*sets), store)
        assert isinstance(stt, TieredStt)
        assert [tier.name for tier in stt.tiers] == ["whisper-base.en", "whisper-tiny.en"]
        final, partial = stt.transcribe([Clip(SECOND), Clip(SECOND, is_final=False)])
        assert (final.engine, partial.engine) == ("whisper-base.en", "whisper-tiny.en")

    def test_that_is_not_here_says_how_to_get_it_and_what_else_could_be_done(self, store: Store) -> None:
        with pytest.raises(ModelMissing, match=r"whisper-small .*models pull whisper-small.*stt.final_model"):
            recognisers.build_stt(configured("stt.engine=whisper", "stt.final_model=whisper-small"), store)

    def test_hears_no_more_than_30_s_at_once(self, store: Store) -> None:
        with pytest.raises(ConfigError, match=r"stt.max_window_ms: .*at most 28000, got 40000"):
            recognisers.build_stt(configured("stt.engine=whisper", "stt.max_window_ms=40000"), store)

    def test_a_device_that_is_not_here_gives_way_and_the_reason_can_be_had(
        self, store: Store, machine: Callable[..., None], caplog: pytest.LogCaptureFixture
    ) -> None:
        machine()
        sets = configured("stt.engine=whisper", "stt.final_model=whisper-tiny.en", "whisper.device=cuda")
        assert isinstance(recognisers.build_stt(sets, store), Whisper)
        assert recognisers.device_warning(sets).startswith("cuda cannot be used: there is none here")
        assert [record for record in caplog.records if record.levelname == "WARNING"] == []

    @pytest.mark.parametrize(
        "sets", [("whisper.device=cuda",), ("stt.engine=whisper",), ("stt.engine=whisper", "whisper.device=cpu")]
    )
    def test_a_device_that_nobody_asks_for_needs_no_warning(
        self, machine: Callable[..., None], sets: tuple[str, ...]
    ) -> None:
        machine()
        assert recognisers.device_warning(configured(*sets)) == ""

    @pytest.mark.skipif(
        "OpenVINOExecutionProvider" not in __import__("onnxruntime").get_available_providers(),
        reason="this ONNX Runtime is built without OpenVINO",
    )
    def test_says_on_openvino_what_it_says_on_the_processor(self, store: Store) -> None:
        sets = ("stt.engine=whisper", "stt.final_model=whisper-tiny.en", "whisper.max_temperature=0")
        plain = recognisers.build_stt(configured(*sets, "whisper.precision=float32"), store)
        other = recognisers.build_stt(configured(*sets, "whisper.device=openvino"), store)
        assert isinstance(plain, Whisper)
        assert isinstance(other, TieredStt)
        theirs = other.tiers[0].engine
        assert isinstance(theirs, Whisper)
        np.testing.assert_allclose(theirs.hear(SECOND), plain.hear(SECOND), rtol=0, atol=1e-3)

    def test_a_precision_that_is_not_here_says_which_are(self, store: Store) -> None:
        sets = ("stt.engine=whisper", "stt.final_model=whisper-tiny.en", "whisper.precision=float16")
        with pytest.raises(ModelMissing, match=r"is here in float32, int8, but cpu needs float16.*--precision float16"):
            recognisers.build_stt(configured(*sets), store)


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("whisper.device=gpu", r"whisper.device: expected text \(auto, cpu, cuda, .*got 'gpu'"),
        ("whisper.device=cuda:x", "got 'cuda:x'"),
        ("whisper.device=openvino:", "got 'openvino:'"),
        ("whisper.precision=int4", "whisper.precision: expected one of int8, float16, float32 or null, got 'int4'"),
        ("whisper.task=sing", "whisper.task: expected one of transcribe, translate, got 'sing'"),
    ],
)
def test_settings_that_cannot_be_are_refused_as_any_other(setting: str, expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        configured(setting)


@pytest.mark.parametrize("device", ["auto", "cpu", "cuda", "CUDA:1", "openvino", "openvino:GPU.0", "openvino:NPU"])
def test_devices_may_be_named_in_these_ways(device: str) -> None:
    assert configured(f"whisper.device={device}").whisper.device == device


class TestOrigin:
    def test_of_whisper_tells_models_options_and_files_apart(self, whispers: Path, store: Store) -> None:
        sets = ("stt.engine=whisper", "stt.final_model=whisper-tiny.en")
        same = recognisers.origin_of(configured(*sets), store)
        assert same == recognisers.origin_of(configured(*sets, "openai.model=another"), store)
        others = [
            recognisers.origin_of(configured(*sets, *more), store)
            for more in (["stt.final_model=whisper-base.en"], ["whisper.prompt=Names."], ["whisper.task=translate"])
        ]
        assert all(other != same for other in others)
        record = whispers / "whisper-tiny.en" / "whisper.json"
        kept = record.read_text("utf-8")
        files = json.loads(kept)
        files["files"]["encoder.int8.onnx"][1] = "of other weights"
        record.write_text(json.dumps(files), "utf-8")
        try:
            assert recognisers.origin_of(configured(*sets), store) != same
        finally:
            record.write_text(kept, "utf-8")

    def test_of_a_server_tells_servers_and_models_apart(self, store: Store) -> None:
        sets = ("stt.engine=openai", "openai.base_url=http://here/v1", "openai.model=one")
        same = recognisers.origin_of(configured(*sets), store)
        assert recognisers.origin_of(configured(*sets, "whisper.prompt=Names."), store) == same
        for other in ("openai.base_url=http://there/v1", "openai.model=two"):
            assert recognisers.origin_of(configured(*sets, other), store) != same


class TestOthers:
    def test_the_remote_one_needs_no_model(self, store: Store) -> None:
        stt = recognisers.build_stt(configured("stt.engine=openai", "openai.base_url=http://127.0.0.1:9/v1"), store)
        assert isinstance(stt, OpenAiStt)
        stt.close()

    @pytest.mark.parametrize("key", ["final_model", "partial_model"])
    @pytest.mark.parametrize("engine", ["moonshine", "openai"])
    def test_a_model_where_whisper_is_not_loaded_is_refused(self, key: str, engine: str) -> None:
        with pytest.raises(ConfigError, match=rf"stt.{key}: whisper-tiny.en goes with whisper, which is neither"):
            recognisers.check_stt(configured(f"stt.engine={engine}", f"stt.{key}=whisper-tiny.en"))

    def test_a_model_is_for_whichever_of_the_loaded_ones_is_whisper(self, store: Store) -> None:
        sets = ("stt.engine=moonshine", "stt.more_engines=whisper", "stt.final_model=whisper-tiny.en")
        recognisers.check_stt(configured(*sets))
        (whisper,) = recognisers.build_more_stt(configured(*sets), store).values()
        assert whisper.name == "whisper-tiny.en"

    def test_an_unknown_one_is_refused_with_the_known_ones(self, store: Store) -> None:
        with pytest.raises(ConfigError, match=r"stt.engine: expected one of moonshine, whisper, openai, scripted"):
            recognisers.build_stt(configured("stt.engine=kaldi"), store)

    def test_more_of_them_are_loaded_once_each_and_never_the_configured_one(self, store: Store) -> None:
        sets = ("stt.engine=scripted", "stt.more_engines= whisper, scripted,whisper ,", "stt.final_model=tiny.en")
        more = recognisers.build_more_stt(configured(*sets), store)
        assert list(more) == ["whisper"]

    def test_an_unknown_one_among_them_is_refused_by_its_key(self, store: Store) -> None:
        with pytest.raises(ConfigError, match=r"stt.more_engines: expected one of"):
            recognisers.build_more_stt(configured("stt.more_engines=kaldi"), store)


@pytest.mark.parametrize(("set_", "cores", "threads"), [(0, 1, 1), (0, 2, 1), (0, 8, 4), (0, 64, 4), (3, 2, 3)])
def test_threads_follow_the_cores_unless_they_are_set(
    set_: int, cores: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    assert recognisers.engine_threads(configured(f"pipeline.engine_threads={set_}")) == threads


def test_what_this_machine_has_begins_with_its_processor() -> None:
    first = recognisers.devices_here()[0]
    assert first.kind is Kind.CPU
    assert first.total_mb
    assert 0 < (first.free_mb or 0) <= first.total_mb


def test_a_recogniser_that_fails_says_so_and_not_that_memory_is_short(store: Store) -> None:
    stt = recognisers.build_stt(configured("stt.engine=whisper", "stt.final_model=tiny.en"), store)
    with pytest.raises(EngineFailure, match="not numbers"):
        stt.transcribe([Clip(np.full(16_000, np.nan, np.float32))])
