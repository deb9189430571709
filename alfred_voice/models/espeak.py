"""espeak-ng: speaks over a hundred languages at once, in a robot's voice, from a few megabytes.

The library is driven through its C interface (espeak-ng, src/include/espeak-ng/speak_lib.h, 1.52),
from which the numbers below come. It lives in the package ``espeakng_loader``, with its data.
"""

from __future__ import annotations

import atexit
import ctypes
import math
import os
import shutil
import tempfile
import threading
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np

from alfred_voice.errors import EngineFailure, SpeechError
from alfred_voice.models.engine import Int16
from alfred_voice.models.espeak_voices import ListedVoice, VoiceIndex
from alfred_voice.results import Voice


MIN_SPEED, MAX_SPEED = 0.25, 4.0

_AUDIO_OUTPUT_SYNCHRONOUS = 2
_INITIALIZE_DONT_EXIT = 0x8000  # without it, missing data ends the process
_CHARS_UTF8, _END_PAUSE = 0x1, 0x1000  # neither espeakSSML (0x10) nor espeakPHONEMES (0x100)
_POS_CHARACTER = 1
_RATE, _WORD_GAP = 1, 7
_EE_OK = 0
_GO_ON, _ABORT = 0, 1
_GENDERS = {1: "male", 2: "female"}

_NORMAL_WPM = 175  # espeakRATE's default
_SLOWEST_WPM = 80  # the library takes anything below for 80; above 450 it speeds the audio itself up
_GAP_UNIT_S = 0.0306  # what one unit of the word gap adds to a word at 80 words per minute; measured
_LONGEST_DATA_PATH = 159  # bytes; N_PATH_HOME of speech.h less the final NUL. A longer path is cut and not found

# The library keeps its state in C globals, once for the process and however many engines there are.
# So its lock is the process's too, and the only state here: whether the library has been initialised
# it tells itself, and every call sets voice, pace and callback anew. Engines thus need not know of
# each other, and none depends on what another one, or an earlier test, has left behind.
_LIBRARY_LOCK: Final = threading.Lock()


class _VoiceStruct(ctypes.Structure):
    """``espeak_VOICE``."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("languages", ctypes.c_void_p),
        ("identifier", ctypes.c_char_p),
        ("gender", ctypes.c_ubyte),
        ("age", ctypes.c_ubyte),
        ("variant", ctypes.c_ubyte),
        ("xx1", ctypes.c_ubyte),
        ("score", ctypes.c_int),
        ("spare", ctypes.c_void_p),
    )


_SynthCallback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


class EspeakTts:
    """The synthesiser that is always there.

    May be called from any thread; calls wait for each other, also those of other engines of this
    class. A ``sink`` is called in the thread that called :meth:`synthesise`, while the others wait,
    and must not speak itself.

    Raises:
        EngineFailure: the library or its data cannot be loaded.
    """

    name = "espeak"

    def __init__(self) -> None:
        library, data = _locate()
        self._library = _open(library)
        self._is_open = True
        with _LIBRARY_LOCK:
            self.sample_rate = _start(self._library, data)
            self._index = VoiceIndex(_listed(self._library, None), _listed(self._library, b"variant"))

    def voices(self) -> list[Voice]:
        """All voices there are, sorted by name."""
        return self._index.voices()

    def variants(self) -> list[Voice]:
        """The timbres that any voice can be spoken with: ``en-us`` with ``+f3`` is ``en-us+f3``."""
        return self._index.variants()

    def check(self, voice: str, speed: float) -> None:
        """Raise :exc:`~alfred_voice.errors.SpeechError` unless this voice and speed can be had."""
        self._index.resolve(voice)
        pace(speed)

    def synthesise(self, text: str, voice: str, speed: float, sink: Callable[[Int16], bool]) -> None:
        """Speak ``text``; give ``sink`` each piece (int16, shape (n,), about 60 ms) as soon as it is made.

        Nothing in the text is a command: neither markup nor phoneme names nor control characters. A
        ``sink`` that returns False, or raises, stops the synthesis at once. The pause that follows
        a sentence belongs to the audio, so that sentences spoken one by one sound like one text.

        Raises:
            SpeechError: the voice or the speed cannot be had.
            EngineFailure: the library refused, or the engine is closed.
        """
        identifier = self._index.resolve(voice)
        rate, gap = pace(speed)
        spoken = speakable(text)
        if not spoken:
            return
        relay = _Relay(sink)
        callback = _SynthCallback(relay)
        with _LIBRARY_LOCK:
            if not self._is_open:
                raise EngineFailure("espeak-ng is closed")
            _expect_ok(self._library.espeak_SetVoiceByName(identifier.encode()), f"the voice {identifier!r}")
            # After the voice, which brings a pace of its own.
            _expect_ok(self._library.espeak_SetParameter(_RATE, rate, 0), f"{rate} words per minute")
            _expect_ok(self._library.espeak_SetParameter(_WORD_GAP, gap, 0), f"a word gap of {gap}")
            self._library.espeak_SetSynthCallback(callback)
            status = _speak(self._library, spoken)
            self._library.espeak_SetSynthCallback(_SynthCallback())
        if relay.error is not None:
            raise relay.error
        _expect_ok(status, f"a text of {len(spoken)} characters")

    def close(self) -> None:
        """Speak no more. The library itself stays with the process: other engines may be using it."""
        with _LIBRARY_LOCK:
            self._is_open = False


class _Relay:
    """Carries samples from the library's callback to a sink, and the sink's refusal or error back."""

    def __init__(self, sink: Callable[[Int16], bool]) -> None:
        self._sink = sink
        self.error: BaseException | None = None

    def __call__(self, samples: Any, count: int, _events: int | None) -> int:
        """``t_espeak_callback``: ``samples`` is the library's own buffer, and null after the last."""
        if not samples or count <= 0:
            return _GO_ON
        try:
            piece: Int16 = np.ctypeslib.as_array(samples, (count,)).astype(np.int16, copy=True)
            return _GO_ON if self._sink(piece) else _ABORT
        except BaseException as error:  # noqa: BLE001 - C cannot pass it on: raised again after the call
            self.error = error
            return _ABORT


def pace(speed: float) -> tuple[int, int]:
    """Words per minute, and units of extra gap between words, for a speed where 1.0 is the normal one.

    The library speaks no slower than 80 words a minute; what is missing below is made up with
    gaps, so that a text takes about 1 / ``speed`` of its normal time over the whole range.

    Raises:
        SpeechError: the speed is not from 0.25 to 4.0.
    """
    if not MIN_SPEED <= speed <= MAX_SPEED or math.isnan(speed):
        raise SpeechError(f"Expected a speed from {MIN_SPEED} to {MAX_SPEED}, but got {speed}")
    wanted_wpm = _NORMAL_WPM * speed
    if wanted_wpm >= _SLOWEST_WPM:
        return round(wanted_wpm), 0
    missing_s = 60 / wanted_wpm - 60 / _SLOWEST_WPM
    return _SLOWEST_WPM, round(missing_s / _GAP_UNIT_S)


def speakable(text: str) -> str:
    """``text`` without control characters and lone surrogates, trimmed.

    The library takes control characters for commands (U+0001 begins one), and a lone surrogate has no UTF-8.
    """
    kept = (" " if _is_no_text(char) else char for char in text)
    return "".join(kept).strip()


def _is_no_text(char: str) -> bool:
    return char not in "\n\t" and unicodedata.category(char) in ("Cc", "Cs")


def _locate() -> tuple[str, str]:
    """The library and its data."""
    try:
        import espeakng_loader

        return espeakng_loader.get_library_path(), espeakng_loader.get_data_path()
    except (ImportError, RuntimeError) as error:
        raise EngineFailure(f"The package espeakng-loader is missing or broken; install it again ({error})") from error


def _open(path: str) -> ctypes.CDLL:
    try:
        library = ctypes.CDLL(path)
    except OSError as error:
        raise EngineFailure(f"The library of espeak-ng cannot be loaded: {error}") from error
    library.espeak_Initialize.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_int]
    library.espeak_ListVoices.argtypes = [ctypes.POINTER(_VoiceStruct)]
    library.espeak_ListVoices.restype = ctypes.POINTER(ctypes.POINTER(_VoiceStruct))
    library.espeak_SetVoiceByName.argtypes = [ctypes.c_char_p]
    library.espeak_SetParameter.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int]
    library.espeak_SetSynthCallback.argtypes = [_SynthCallback]
    library.espeak_SetSynthCallback.restype = None
    library.espeak_Synth.argtypes = [
        ctypes.c_char_p,
        ctypes.c_size_t,
        ctypes.c_uint,
        ctypes.c_int,
        ctypes.c_uint,
        ctypes.c_uint,
        ctypes.c_void_p,
        ctypes.c_void_p,
    ]
    return library


def _start(library: ctypes.CDLL, data: str) -> int:
    """Initialise the library unless it is, and tell its sample rate in Hz; under the lock."""
    rate = int(library.espeak_ng_GetSampleRate())  # 0 until the library has been initialised
    if rate == 0:
        folder = os.fsencode(_short(data))
        rate = int(library.espeak_Initialize(_AUDIO_OUTPUT_SYNCHRONOUS, 0, folder, _INITIALIZE_DONT_EXIT))
    if rate <= 0:
        raise EngineFailure(f"espeak-ng cannot read its data in {data}; install the package espeakng-loader again")
    return rate


def _short(data: str) -> str:
    """A path to ``data`` that fits into the library's buffer: itself, or a link that lives as long as the process."""
    if len(os.fsencode(data)) <= _LONGEST_DATA_PATH:
        return data
    try:
        folder = tempfile.mkdtemp(prefix="espeak-ng-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        link = Path(folder, "data")
        link.symlink_to(data, target_is_directory=True)
    except OSError as error:
        raise EngineFailure(
            f"espeak-ng takes at most {_LONGEST_DATA_PATH} bytes of path to its data, {data} has more, "
            f"and a shorter link to it cannot be made: {error}"
        ) from error
    return str(link)


def _listed(library: ctypes.CDLL, language: bytes | None) -> list[ListedVoice]:
    """The library's list, copied: it is only good until the next one. Under the lock."""
    wanted = _VoiceStruct(languages=ctypes.cast(ctypes.c_char_p(language), ctypes.c_void_p)) if language else None
    entries = library.espeak_ListVoices(wanted)
    found: list[ListedVoice] = []
    while entry := entries[len(found)]:
        voice = entry.contents
        gender = _GENDERS.get(voice.gender, "")
        found.append(ListedVoice(voice.name.decode(), _languages(voice.languages), voice.identifier.decode(), gender))
    return found


def _languages(address: int) -> tuple[tuple[int, str], ...]:
    """The list behind ``languages``: a byte of priority and a string for each, and a zero after the last."""
    found = []
    while priority := ctypes.string_at(address, 1)[0]:
        code = ctypes.string_at(address + 1)
        found.append((priority, code.decode()))
        address += 1 + len(code) + 1
    return tuple(found)


def _speak(library: ctypes.CDLL, text: str) -> int:
    """The status of ``espeak_Synth``, which returns when the last sample has been given to the callback."""
    data = text.encode()
    size = len(data) + 1  # the final NUL, which ctypes adds, counts
    return int(library.espeak_Synth(data, size, 0, _POS_CHARACTER, 0, _CHARS_UTF8 | _END_PAUSE, None, None))


def _expect_ok(status: int, what: str) -> None:
    if status != _EE_OK:
        raise EngineFailure(f"espeak-ng refused {what}: status {status}")
