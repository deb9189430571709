"""The part of ``alfred-voice models`` that is about Whisper, and about what it can be computed on."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from alfred_voice.clock import SystemClock
from alfred_voice.commands.progress import Bar, Lines
from alfred_voice.errors import ConfigError, ModelCorrupt, ModelError
from alfred_voice.models.store import Store
from alfred_voice.models.whisper_catalog import PREFIX, PUBLISHED
from alfred_voice.models.whisper_layers import Precision
from alfred_voice.models.whisper_store import DEFAULT_PRECISION, WhisperStore, name_of


MB = 1_000_000
EXIT_OK, EXIT_FAILED, EXIT_INTERRUPTED = 0, 1, 130

Row = tuple[str, ...]


def precisions_of(asked: Sequence[str] | None) -> list[Precision]:
    """The precisions that the command line names.

    Raises:
        ConfigError: one that there is not.
    """
    known = {one.value: one for one in Precision}
    for name in asked or ():
        if name not in known:
            raise ConfigError(f"--precision: expected one of {', '.join(known)}, got {name!r}")
    return [known[name] for name in asked or (DEFAULT_PRECISION.value,)]


def rows(store: Store) -> list[Row]:
    """The table of the Whispers that are here; empty when there are none."""
    shelf = WhisperStore(store)
    lines: list[Row] = [("WHISPER", "SIZE", "MEMORY", "PRECISIONS", "LANGUAGES")]
    lines += [_row(shelf, name) for name in shelf.names()]
    return lines if len(lines) > 1 else []


def _row(shelf: WhisperStore, name: str) -> Row:
    try:
        files = shelf.find(name)
    except ModelError:
        return name, "-", "-", f"damaged; see 'models verify {name}'", "-"
    made = ", ".join(one.value if files.is_here(one) else f"({one.value} is damaged)" for one in files.precisions)
    languages = str(files.dimensions.languages) if files.dimensions.is_multilingual else "English"
    return name, f"{files.size / MB:.1f} MB", _memory(files.size), made, languages


def others(store: Store) -> str:
    """The Whispers that can be had, in a sentence."""
    here = WhisperStore(store).names()
    sizes = [one.name for one in PUBLISHED if f"{PREFIX}{one.name}" not in here]
    return f"More with 'alfred-voice models pull {PREFIX}SIZE'; SIZE is one of {', '.join(sizes)}."


def pull(store: Store, wanted: Sequence[str], precisions: Sequence[Precision], *, is_quiet: bool) -> int:
    """Make those that are missing or damaged, showing how far it is.

    Args:
        store: where they are kept.
        wanted: names, or paths of checkpoints.
        precisions: which graphs there are to be.
        is_quiet: a start asks: sizes are looked at, not hashes, and nothing is said when nothing is missing.
    """
    shelf = WhisperStore(store)
    is_ready = shelf.is_complete if is_quiet else shelf.is_sound
    missing = [one for one in wanted if not is_ready(one, precisions)]
    progress = Bar(sys.stderr, SystemClock()) if sys.stderr.isatty() else Lines(sys.stderr)
    try:
        for one in missing:
            files = shelf.pull(one, precisions, progress)
            distances = "; ".join(
                f"{name}: logits {found['logits']:.2g} of their spread from the weights' own"
                for name, found in files.parity.items()
            )
            progress.note(f"{PREFIX}{files.name}: {files.size / MB:.0f} MB in {files.folder} ({distances})")
    except KeyboardInterrupt:
        progress.close()
        print("Interrupted; what has come so far is kept, the next pull goes on from there.", file=sys.stderr)
        return EXIT_INTERRUPTED
    finally:
        progress.close()
    if missing or not is_quiet:
        print(f"Complete in {store.root}: {', '.join(_ids(wanted))}")
    return EXIT_OK


def verify(store: Store, names: Sequence[str]) -> tuple[list[Row], list[str]]:
    """A line for each file, and what a pull has to be told of those that are not what was made."""
    shelf = WhisperStore(store)
    lines: list[Row] = []
    bad: list[str] = []
    for name in names:
        try:
            found = shelf.verify(name)
        except ModelCorrupt as error:
            lines.append((name, str(error)))
            bad.append(shelf.pulled_as(name))
            continue
        lines += [(f"{name}/{file}", "ok" if is_ok else "not what was made") for file, is_ok in found.items()]
        if not all(found.values()):
            bad.append(shelf.pulled_as(name))
    return lines, bad


def devices() -> list[Row]:
    """What this machine can compute on, and the largest Whisper that fits."""
    from alfred_voice.models.devices import fitting
    from alfred_voice.recognisers import devices_here

    lines: list[Row] = [("DEVICE", "WHAT IT IS", "MEMORY FREE", "PRECISIONS", "LARGEST WHISPER", "STATE")]
    for device in devices_here():
        memory = "-" if device.free_mb is None else f"{device.free_mb} of {device.total_mb} MB"
        found = fitting(device)
        largest = "-" if found is None else f"{PREFIX}{found[0].name} in {found[1].value}"
        precisions = ", ".join(one.value for one in device.precisions)
        lines.append((device.id, device.name, memory, precisions, largest, device.problem or "can be used"))
    return lines


def _ids(wanted: Sequence[str]) -> list[str]:
    return [f"{PREFIX}{name_of(Path(one))}" if Path(one).is_file() else one for one in wanted]


def _memory(size: int) -> str:
    """What the graphs take once they are loaded; a little more than their files."""
    return f"{size * 1.2 / MB:.0f} MB"
