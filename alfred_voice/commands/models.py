"""``alfred-voice models``: what is here, what can be had, and fetching, checking or removing it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING

from alfred_voice.clock import SystemClock
from alfred_voice.commands.progress import Bar, Lines
from alfred_voice.errors import ConfigError, ModelError, ModelMissing
from alfred_voice.models.catalog import Model
from alfred_voice.models.store import FileState, ModelState, Store, models_folder


if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 - argparse has no public name

MB = 1_000_000
EXIT_OK, EXIT_FAILED, EXIT_INTERRUPTED = 0, 1, 130
"""130 is what shells give a command that was ended by SIGINT."""


def add_parser(subparsers: Subparsers) -> None:
    """Add the command and its actions."""
    parser = subparsers.add_parser("models", help="list, fetch, verify or remove models")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    actions.add_parser("list", help="all models of the catalogue and their state")
    actions.add_parser("path", help="the folder that holds the models")
    actions.add_parser("devices", help="what this machine can compute on, and the largest Whisper that fits")
    pull = actions.add_parser(
        "pull",
        help="fetch what is missing; make the graphs of a Whisper",
        description="Fetch models of the catalogue. A Whisper is named by its size, whisper-tiny.en to "
        "whisper-large-v3-turbo, or by the path of a checkpoint of openai-whisper: its graphs are made out of that, "
        "made small, and compared with the weights' own arithmetic.",
    )
    pull.add_argument("--quiet-if-complete", action="store_true", help="print nothing when nothing is missing")
    pull.add_argument(
        "--precision",
        action="append",
        metavar="NAME",
        help="of a Whisper: int8 (the default, for processors), float16 (graphics cards), float32; may be repeated",
    )
    verify = actions.add_parser(
        "verify",
        help="hash every file and compare with the catalogue, or with what was made",
        description="Hash the files of models and compare them with the catalogue, those of Whispers with what was "
        "written when they were made. What is found wrong is mended by 'alfred-voice models pull'.",
    )
    pull.add_argument("models", nargs="*", metavar="ID", help="a model's id; the default ones when none is given")
    verify.add_argument(
        "models",
        nargs="*",
        metavar="ID",
        help="a model's id; when none is given the default ones and all that are here",
    )
    remove = actions.add_parser("remove", help="delete a model's files")
    remove.add_argument("models", nargs="+", metavar="ID", help="a model's id")


def run(args: argparse.Namespace) -> int:
    """Do what the action says; 0 when all is well, 1 when a model is not."""
    store = Store(models_folder(args.loaded.config.models.cache_dir))
    try:
        match args.action:
            case "list":
                return _list(store)
            case "path":
                print(store.root)
                return EXIT_OK
            case "pull":
                return _pull_all(store, args.models, args.precision, args.quiet_if_complete)
            case "devices":
                return _devices()
            case "verify":
                return _verify(store, args.models or _all_here(store))
            case "remove":
                return _remove(store, args.models)
            case other:
                raise AssertionError(f"the parser knows no action {other!r}")
    except ModelError as exc:
        print(f"error: {exc}", file=sys.stderr)
        return EXIT_FAILED


def _list(store: Store) -> int:
    """A table of the catalogue."""
    rows: list[tuple[str, ...]] = [("ID", "VERSION", "LICENCE", "SIZE", "MEMORY", "STATE", "WHAT IT IS")]
    rows.extend(_row(model, store.state(model.id)) for model in store.catalogue.models)
    _print_table(rows)
    whispers = _whispers()
    if made := whispers.rows(store):
        print()
        _print_table(made)
    print(f"\n{whispers.others(store)}\nFolder: {store.root}")
    return EXIT_OK


def _row(model: Model, state: ModelState) -> tuple[str, ...]:
    """A model's line in the table."""
    return (
        model.id,
        model.version,
        model.licence,
        f"{model.size / MB:.1f} MB",
        f"{model.memory_mb} MB" if model.memory_mb else "-",
        _state(state) + ("" if model.is_default else ", on request"),
        model.description,
    )


def _state(state: ModelState) -> str:
    """A word or two for how much of a model is here."""
    if state.is_complete:
        return "complete"
    if state.files_present == state.files_total:
        return "not verified"
    if state.files_present:
        return f"{state.files_present} of {state.files_total} files"
    return "absent"


def _whispers() -> ModuleType:
    """What deals with Whisper; loads NumPy, which the parser and most actions can do without."""
    from alfred_voice.commands import whispers

    return whispers


def _is_whisper(store: Store, wanted: str) -> bool:
    """Whether ``wanted`` is no model of the catalogue, but a Whisper."""
    from alfred_voice.models.whisper_store import WhisperStore

    return wanted not in [model.id for model in store.catalogue.models] and WhisperStore(store).is_ours(wanted)


def _devices() -> int:
    """A table of what can compute."""
    _print_table(_whispers().devices())
    return EXIT_OK


def _all_here(store: Store) -> list[str]:
    """The default models, and every other one of which something is in the folder."""
    from alfred_voice.models.whisper_store import WhisperStore

    others = [model.id for model in store.catalogue.models if store.state(model.id).files_present]
    return list(dict.fromkeys([*store.catalogue.defaults(), *others, *WhisperStore(store).names()]))


def _pull_all(store: Store, models: Sequence[str], precisions: Sequence[str] | None, quiet_if_complete: bool) -> int:
    """Fetch models of the catalogue, and make Whispers."""
    made = [model for model in models if _is_whisper(store, model)]
    fetched = [model for model in models if model not in made]
    _check_known(store, fetched)
    if fetched or not made:
        code = _pull(store, fetched, quiet_if_complete)
        if code != EXIT_OK:
            return code
    if not made:
        if precisions:
            raise ConfigError("--precision: expected a Whisper to be pulled")
        return EXIT_OK
    whispers = _whispers()
    code = whispers.pull(store, made, whispers.precisions_of(precisions), is_quiet=quiet_if_complete)
    return int(code)


def _check_known(store: Store, models: Sequence[str]) -> None:
    """Whether the catalogue has them.

    Raises:
        ModelMissing: one is a Whisper's that was named without its prefix.
    """
    known = [model.id for model in store.catalogue.models]
    unknown = [model for model in models if model not in known]
    if not unknown:
        return
    from alfred_voice.models.whisper_catalog import ALIASES, PREFIX, PUBLISHED

    for model in unknown:
        if model in [*ALIASES, *(one.name for one in PUBLISHED)]:
            raise ModelMissing(f"There is no model {model!r} in the catalogue; did you mean {PREFIX}{model}?")


def _pull(store: Store, models: Sequence[str], quiet_if_complete: bool) -> int:
    """Fetch what is missing, showing how far it is."""
    wanted = tuple(models) or store.catalogue.defaults()
    if not quiet_if_complete:
        # By hand there is time to hash. A start goes by sizes and by what was verified once: it would take seconds.
        for model in wanted:
            if store.state(model).files_present:
                store.verify(model)
    missing = store.missing(wanted)
    if not missing:
        if not quiet_if_complete:
            print(f"Complete in {store.root}: {', '.join(wanted)}")
        return EXIT_OK
    # On stderr, so that what a command prints stays what it answers.
    progress = Bar(sys.stderr, SystemClock()) if sys.stderr.isatty() else Lines(sys.stderr)
    progress.note(f"Fetching {', '.join(missing)} into {store.root}")
    try:
        store.pull(*missing, progress=progress)
    except KeyboardInterrupt:
        progress.close()
        print("Interrupted; what has come so far is kept, the next pull goes on from there.", file=sys.stderr)
        return EXIT_INTERRUPTED
    finally:
        progress.close()
    print(f"Complete in {store.root}: {', '.join(wanted)}")
    return EXIT_OK


def _verify(store: Store, models: Sequence[str]) -> int:
    """A line for each file; says what to do about bad ones."""
    bad: list[str] = []
    rows: list[tuple[str, ...]] = []
    made = [model for model in models if _is_whisper(store, model)]
    if made:
        found, bad = _whispers().verify(store, made)
        rows.extend(found)
    for model in (model for model in models if model not in made):
        report = store.verify(model)
        rows.extend((f"{model}/{found.file.name}", found.state.value) for found in report.files)
        for found in report.files:
            if found.state is FileState.WRONG_HASH:
                rows.append(("  expected", found.file.sha256))
                rows.append(("  got", found.sha256 or ""))
        if not report.is_ok:
            bad.append(model)
    _print_table(rows)
    if bad:
        print(f"\nMend with: alfred-voice models pull {' '.join(bad)}", file=sys.stderr)
        return EXIT_FAILED
    return EXIT_OK


def _remove(store: Store, models: Sequence[str]) -> int:
    """Delete each, saying what it freed."""
    for model in models:
        freed = _remove_one(store, model)
        print(f"{model}: {freed / MB:.1f} MB freed" if freed else f"{model}: was not here")
    return EXIT_OK


def _remove_one(store: Store, model: str) -> int:
    if not _is_whisper(store, model):
        return store.remove(model)
    from alfred_voice.models.whisper_store import WhisperStore

    return WhisperStore(store).remove(model)


def _print_table(rows: Sequence[Sequence[str]]) -> None:
    """Rows in columns as wide as their widest cell."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
