"""Every model that can be had: its files, their hashes, and where each may come from.

Values only. :mod:`alfred_voice.models.fetch` brings the bytes, :mod:`alfred_voice.models.store` keeps them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from alfred_voice.errors import ModelMissing
from alfred_voice.models.derived import Derived


LOOPBACK = ("127.0.0.1", "localhost", "::1")
"""Hosts that may be asked without encryption."""


@dataclass(frozen=True, slots=True)
class Package:
    """A wheel of a package index that carries weights.

    Weights do not depend on the machine, so a wheel is asked for by its own platform tag, not by ours.
    """

    name: str
    version: str
    size: int
    """Bytes of the archive; for the display and the check of free space, not a condition."""
    platform: str | None = None
    """Platform tag of the wheel; None for one that runs anywhere."""

    def __str__(self) -> str:
        return f"{self.name} {self.version}"

    @property
    def archive_name(self) -> str:
        """File name that the archive has while it is kept."""
        return f"{self.name}-{self.version}.zip"


@dataclass(frozen=True, slots=True)
class Member:
    """A file inside a package's archive."""

    package: Package
    path: str
    """Path inside the archive."""

    def __str__(self) -> str:
        return f"package {self.package}"


@dataclass(frozen=True, slots=True)
class Address:
    """A file that a web server offers."""

    url: str
    """https; plain http on this machine only."""

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in LOOPBACK):
            raise ValueError(f"Expected an https address, but got {self.url!r}")

    def __str__(self) -> str:
        return self.url


Source = Member | Address
"""Where a file may come from, beside the store itself."""


@dataclass(frozen=True, slots=True)
class ModelFile:
    """One file of a model; its hash alone says whether it is the right one."""

    name: str
    """File name in the store."""
    size: int
    """Bytes."""
    sha256: str
    """64 lower-case hexadecimal digits."""
    sources: tuple[Source, ...]
    """Tried in this order."""

    def __post_init__(self) -> None:
        if (
            not self.name
            or PurePosixPath(self.name).name != self.name
            or "\\" in self.name
            or self.name.startswith(".")
        ):
            raise ValueError(f"Expected a plain file name, but got {self.name!r}")
        if len(self.sha256) != 64 or set(self.sha256) - set("0123456789abcdef"):
            raise ValueError(f"Expected 64 hexadecimal digits as the hash of {self.name}, but got {self.sha256!r}")
        if self.size <= 0:
            raise ValueError(f"Expected a size of {self.name} in bytes, but got {self.size}")


@dataclass(frozen=True, slots=True)
class Model:
    """A model, or another bundle of files, with what one should know before fetching it."""

    id: str
    version: str
    description: str
    licence: str
    memory_mb: int
    """Resident memory that it adds to the daemon once loaded."""
    files: tuple[ModelFile, ...]
    is_default: bool = True
    """Fetched at set-up; the others only when asked for by name."""
    derived: Derived | None = None
    """What is made of the files once they are here."""

    @property
    def size(self) -> int:
        """Bytes of all its files."""
        return sum(file.size for file in self.files)

    def file(self, name: str) -> ModelFile:
        """The file of that name, or :exc:`~alfred_voice.errors.ModelMissing`."""
        for file in self.files:
            if file.name == name:
                return file
        known = ", ".join(file.name for file in self.files)
        raise ModelMissing(f"The model {self.id} has no file {name!r}; it has {known}.")


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The models that a store knows."""

    models: tuple[Model, ...]

    def __post_init__(self) -> None:
        ids = [model.id for model in self.models]
        if len(set(ids)) != len(ids):
            raise ValueError(f"Expected each id once, but got {', '.join(ids)}")

    def model(self, model_id: str) -> Model:
        """The model of that id, or :exc:`~alfred_voice.errors.ModelMissing`."""
        for model in self.models:
            if model.id == model_id:
                return model
        known = ", ".join(model.id for model in self.models)
        raise ModelMissing(f"There is no model {model_id!r} in the catalogue; there are {known}.")

    def defaults(self) -> tuple[str, ...]:
        """Ids of what set-up fetches."""
        return tuple(model.id for model in self.models if model.is_default)


def _members(package: Package, folder: str, files: Sequence[tuple[str, int, str]]) -> tuple[ModelFile, ...]:
    """Files that lie side by side in one folder of a package: name, bytes, SHA-256 of each."""
    return tuple(ModelFile(name, size, sha256, (Member(package, f"{folder}/{name}"),)) for name, size, sha256 in files)


# The sizes and hashes below were taken from the packages named beside them. Memory: growth of the resident
# set when the graphs are loaded by ONNX Runtime 1.24, one thread, arena off.
SILERO_PACKAGE = Package("silero-vad", "6.2.3", 11_317_527)
MOONSHINE_PACKAGE = Package("moonshine-voice", "0.0.55", 88_378_725, "manylinux_2_34_x86_64")
"""The last version that carries the weights of tiny-en."""
PIPECAT_PACKAGE = Package("pipecat-ai", "1.14.0", 12_109_725)


def _make_lean_silero(source: Path, target: Path) -> None:
    """Rebuild the detector's graphs; what that takes is imported by whoever does it."""
    from alfred_voice.models.silero_graph import write_lean_graphs

    write_lean_graphs(source / SILERO_STOCK, target / SILERO_SESSIONS, target / SILERO_RECORDING)


SILERO_STOCK = "silero_vad_op18_ifless.onnx"
"""The file of the detector that its weights are read from."""

SILERO_SESSIONS = "silero.lean.onnx"
"""The detector's graph for one window of many sessions."""
SILERO_RECORDING = "silero.recording.onnx"
"""That for many windows of one recording."""

LEAN_SILERO = Derived(
    version="2", sources=(SILERO_STOCK,), results=(SILERO_SESSIONS, SILERO_RECORDING), make=_make_lean_silero
)
"""The detector's graphs with the published weights, as this house runs them."""

SILERO_VAD = Model(
    id="silero-vad",
    version="6.2",
    description="Voice activity detector, 16 kHz and 8 kHz",
    licence="MIT",
    memory_mb=17,
    derived=LEAN_SILERO,
    files=_members(
        SILERO_PACKAGE,
        "silero_vad/data",
        (
            (
                SILERO_STOCK,
                2_845_718,
                "7671cd04b004e9076da0d4a7b1a5aec36adf161c39230c1cb94a4fd5db6bbd28",
            ),
            (
                "silero_vad_16k_op15.onnx",
                1_289_603,
                "7ed98ddbad84ccac4cd0aeb3099049280713df825c610a8ed34543318f1b2c49",
            ),
        ),
    ),
)


def _make_lean_graphs(source: Path, target: Path) -> None:
    """Rebuild the recogniser's graphs; what that takes is imported by whoever does it."""
    from alfred_voice.models.moonshine_graphs import write_lean_graphs

    write_lean_graphs(source, target)


LEAN_GRAPHS = Derived(
    version="4",
    sources=("encoder_model.ort", "decoder_model_merged.ort"),
    results=("encoder.lean.onnx", "decoder.lean.onnx"),
    make=_make_lean_graphs,
)
"""The recogniser's graphs with the published weights, as this house runs them."""

MOONSHINE_TINY_EN = Model(
    id="moonshine-tiny-en",
    version="0.0.55",
    description="Speech recogniser, English, int8, with two recordings of speech",
    licence="MIT",
    memory_mb=72,
    derived=LEAN_GRAPHS,
    files=(
        *_members(
            MOONSHINE_PACKAGE,
            "moonshine_voice/assets/tiny-en",
            (
                (
                    "encoder_model.ort",
                    13_281_600,
                    "94e90a4654fc45cdfedb77c4c08e1739f48862998e58fada384b25118134f221",
                ),
                (
                    "decoder_model_merged.ort",
                    30_412_256,
                    "cf524c4862d36e9e5ab032eddc73637efd822d70e868ac575cf1a46e1e4708a0",
                ),
                (
                    "tokenizer.bin",
                    249_974,
                    "6884b35fd6377d4c4d32336a0bc152f36b64d1e45b6503683cdc238250a8472d",
                ),
            ),
        ),
        *_members(
            MOONSHINE_PACKAGE,
            "moonshine_voice/assets",
            (
                (
                    "beckett.wav",
                    318_978,
                    "e5a26b3d29e5b0bc8dbd72c11d16a3808a4ec0ac45b21f12a27d2a2fe5c5ae61",
                ),
                (
                    "two_cities.wav",
                    4_260_326,
                    "f3348494d77cb74a02862f5e685ed09faf3e75832c5cc5c80703282c2cd8b52e",
                ),
            ),
        ),
    ),
)

SMART_TURN = Model(
    id="smart-turn-v3.2",
    version="3.2",
    description="End-of-turn model, judges from the sound alone, int8",
    licence="BSD-2-Clause",
    memory_mb=29,
    files=_members(
        PIPECAT_PACKAGE,
        "pipecat/audio/turn/smart_turn/data",
        (
            (
                "smart-turn-v3.2-cpu.onnx",
                8_679_182,
                "2bb026316b14a660486a75b1733cd3fbab8c2fd0314dc9af7be49f8cca967e4f",
            ),
        ),
    ),
)

REFERENCES = Model(
    id="references",
    version="1.14.0",
    description="The published features of the end-of-turn model, which tests compare ours with",
    licence="BSD-2-Clause",
    memory_mb=0,
    files=(
        ModelFile(
            "whisper_features.py",
            7_221,
            "139b047d10dee42ad5b4894489012e515a882d8f5e2bffe8ad27b30728fc9968",
            (Member(PIPECAT_PACKAGE, "pipecat/audio/turn/smart_turn/_whisper_features.py"),),
        ),
    ),
    is_default=False,
)

MLX_WHISPER_PACKAGE = Package("mlx-whisper", "0.4.3", 890_544)
"""Carries the vocabularies as openai-whisper has them, which comes without a wheel itself."""

WHISPER_VOCABULARY = Model(
    id="whisper-vocabulary",
    version="0.4.3",
    description="What the tokens of Whisper spell: English, and a hundred languages",
    licence="MIT",
    memory_mb=0,
    files=_members(
        MLX_WHISPER_PACKAGE,
        "mlx_whisper/assets",
        (
            ("gpt2.tiktoken", 835_554, "306cd27f03c1a714eca7108e03d66b7dc042abe8c258b44c199a7ed9838dd930"),
            ("multilingual.tiktoken", 816_730, "b34b360dbb493e781e479794586d661700670d65564001f23024971d1f2fa126"),
        ),
    ),
    is_default=False,
)

CATALOG = Catalogue((SILERO_VAD, MOONSHINE_TINY_EN, SMART_TURN, WHISPER_VOCABULARY, REFERENCES))
"""What the daemon can use."""
