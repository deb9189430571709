"""The turn model's features: a log-mel spectrogram of the last eight seconds, in NumPy.

The definition is that of Whisper's feature extractor with normalisation, at eight seconds (model
card of smart-turn v3). What is done differently here changes the time it takes and not the result:

* A Fourier transform of 400 points is two foldings and four matrix products. Cosines and sines are
  even and odd about the middle of the frame, and again about its quarters, so a frame of 400 needs
  only products of 100 by 100; BLAS does these in less than half of the time of ``numpy.fft``.
* The zeros before a short turn stay constant when the window is normalised, so all frames that
  lie in them are equal and one of them is computed.

From the spectrum on everything is in double precision, as in the reference. The model's int8 graph
quantises its input anew each time, and rounds all of it another way when the last bit of an extreme
value changes: that was seen to move probabilities by 0.1, so features that are nearly right are not enough.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from alfred_voice.models.engine import SAMPLE_RATE, Float32


Float64 = NDArray[np.float64]

WINDOW_SAMPLES = 8 * SAMPLE_RATE
"""8 s; what the turn model hears."""
HOP_SAMPLES = 160
"""10 ms from one frame to the next."""
FRAME_SAMPLES = 400
"""25 ms; what one frame is computed from."""
FRAMES = WINDOW_SAMPLES // HOP_SAMPLES
"""800; the transform has one more, which the model was not trained on."""
MELS = 80

_HALF = FRAME_SAMPLES // 2
_QUARTER = FRAME_SAMPLES // 4
_VARIANCE_FLOOR = np.float32(1e-7)  # added to the variance; WhisperFeatureExtractor.zero_mean_unit_var_norm
_POWER_FLOOR = 1e-10  # the rest of the scaling: openai/whisper, audio.py, log_mel_spectrogram
_RANGE_DECADES = 8.0
_DECADES_PER_NEPER = 1.0 / np.log(10.0)
_BLOCK_FRAMES = 100  # what is worked on at a time stays within a core's cache

# Slaney, Auditory Toolbox (1998): linear up to 1 kHz, which is mel 15, then 27 mels for each factor of 6.4.
_LINEAR_HZ_PER_MEL = 200.0 / 3.0
_KNEE_HZ = 1000.0
_KNEE_MEL = _KNEE_HZ / _LINEAR_HZ_PER_MEL
_MELS_PER_NEPER = 27.0 / np.log(6.4)


def mel_filters(fft_samples: int, mels: int, sample_rate: int) -> Float64:
    """Triangular filters, equally wide on Slaney's mel scale and of equal area, from 0 Hz to half the rate.

    Returns:
        float64, shape (mels, fft_samples // 2 + 1): what each bin's power adds to each filter.
    """
    nyquist_hz = sample_rate / 2
    corners_hz = _hz_of_mel(np.linspace(0.0, _mel_of_hz(nyquist_hz), mels + 2))
    bins_hz = np.linspace(0.0, nyquist_hz, fft_samples // 2 + 1)
    left, peak, right = (corners_hz[i : i + mels, None] for i in range(3))
    rising = (bins_hz - left) / (peak - left)
    falling = (right - bins_hz) / (right - peak)
    triangles = np.maximum(0.0, np.minimum(rising, falling))
    weighted: Float64 = triangles * (2.0 / (right - left))
    return weighted


def _mel_of_hz(hz: float) -> float:
    if hz < _KNEE_HZ:
        return hz / _LINEAR_HZ_PER_MEL
    return float(_KNEE_MEL + _MELS_PER_NEPER * np.log(hz / _KNEE_HZ))


def _hz_of_mel(mel: Float64) -> Float64:
    above: Float64 = np.maximum(0.0, mel - _KNEE_MEL)
    linear: Float64 = np.minimum(mel, _KNEE_MEL) * _LINEAR_HZ_PER_MEL
    hz: Float64 = linear * np.exp(above / _MELS_PER_NEPER)
    return hz


class TurnMel:
    """Turns the sound of a turn into what the turn model is fed; holds tables only, no state."""

    __slots__ = ("_cos_even", "_cos_odd", "_hann", "_mel_even", "_mel_odd", "_sin_even", "_sin_odd")

    def __init__(self) -> None:
        n = np.arange(_QUARTER + 1)
        even, odd = np.arange(0, _HALF + 1, 2), np.arange(1, _HALF, 2)
        self._cos_even: Float64 = np.cos(_angles(n, even))
        self._cos_odd: Float64 = np.cos(_angles(n[:-1], odd))
        self._sin_even: Float64 = np.sin(_angles(n[1:-1], even))
        self._sin_odd: Float64 = np.sin(_angles(n[1:], odd))
        # Periodic: zero at sample 0, one at the middle, the same on both sides of it.
        self._hann: Float64 = np.hanning(FRAME_SAMPLES + 1)[: _HALF + 1]
        filters = mel_filters(FRAME_SAMPLES, MELS, SAMPLE_RATE).T
        self._mel_even: Float64 = np.ascontiguousarray(filters[0::2])
        self._mel_odd: Float64 = np.ascontiguousarray(filters[1::2])

    def features(self, turn: Float32) -> Float32:
        """The features of the last eight seconds of a turn.

        Args:
            turn: float32, shape (n,), 16 kHz, [-1, 1). Shorter turns get silence before them.

        Returns:
            float32, shape (80, 800): mel by frame.
        """
        heard = turn[-WINDOW_SAMPLES:]
        padding = WINDOW_SAMPLES - len(heard)
        frames = _frames(_normalised(heard, padding))
        # Frame t covers the samples from 160 t - 200 to 160 t + 200; this is the last one with padding only.
        first = max(0, (padding - _HALF) // HOP_SAMPLES)
        log = np.empty((FRAMES - first, MELS))
        for start in range(0, len(log), _BLOCK_FRAMES):
            block = log[start : start + _BLOCK_FRAMES]
            power = self._mel_power(frames[first + start : first + start + len(block)])
            np.log(np.maximum(power, _POWER_FLOOR, out=power), out=block)
        log *= _DECADES_PER_NEPER
        np.maximum(log, log.max() - _RANGE_DECADES, out=log)
        log += 4.0
        log *= 0.25
        features = np.empty((MELS, FRAMES), np.float32)
        features[:, first:] = log.T
        features[:, :first] = features[:, first, None]
        return features

    def _mel_power(self, frames: Float64) -> Float64:
        """Power in each mel filter; float64, shape (frames, 80), of frames of shape (frames, 400)."""
        # Sample 0 has no partner, and the window is zero there; sample 200 is its own partner.
        mirrored = frames[:, :_HALF:-1]
        sums = np.empty((len(frames), _HALF + 1))
        sums[:, 0] = 0.0
        np.add(frames[:, 1:_HALF], mirrored, out=sums[:, 1:_HALF])
        sums[:, _HALF] = frames[:, _HALF]
        sums *= self._hann
        differences = frames[:, 1:_HALF] - mirrored
        differences *= self._hann[1:_HALF]

        # The same again about the quarter: frequencies of even number see the sum of the cosines'
        # halves and the difference of the sines', those of odd number the other way round.
        near, far = sums[:, :_QUARTER], sums[:, :_QUARTER:-1]
        cos_even = np.empty((len(frames), _QUARTER + 1))
        np.add(near, far, out=cos_even[:, :_QUARTER])
        cos_even[:, _QUARTER] = sums[:, _QUARTER]
        cos_odd = near - far
        near, far = differences[:, : _QUARTER - 1], differences[:, : _QUARTER - 1 : -1]
        sin_odd = np.empty((len(frames), _QUARTER))
        np.add(near, far, out=sin_odd[:, :-1])
        sin_odd[:, -1] = differences[:, _QUARTER - 1]
        sin_even = near - far

        power_even = _power(cos_even @ self._cos_even, sin_even @ self._sin_even)
        power_odd = _power(cos_odd @ self._cos_odd, sin_odd @ self._sin_odd)
        mel: Float64 = power_even @ self._mel_even
        mel += power_odd @ self._mel_odd
        return mel


def _angles(samples: NDArray[np.int_], bins: NDArray[np.int_]) -> Float64:
    """Phase in radians at each sample of a frame, for each frequency; shape (samples, bins)."""
    phase: Float64 = 2.0 * np.pi * np.outer(samples, bins) / FRAME_SAMPLES
    return phase


def _normalised(heard: Float32, padding: int) -> Float32:
    """Eight seconds of mean 0 and variance 1, zeros put before ``heard`` included: the model was trained so.

    In single precision and in the reference's order of operations, so that not a bit differs.
    """
    window = np.zeros(WINDOW_SAMPLES, np.float32)
    window[padding:] = heard
    mean, deviation = window.mean(), np.sqrt(window.var() + _VARIANCE_FLOOR)
    window -= mean
    window /= deviation
    return window


def _frames(window: Float32) -> Float64:
    """View of all frames, shape (801, 400); the first and the last look past the ends, into a mirror."""
    mirrored = np.pad(window.astype(np.float64), _HALF, mode="reflect")
    return np.lib.stride_tricks.sliding_window_view(mirrored, FRAME_SAMPLES)[::HOP_SAMPLES]


def _power(real: Float64, imaginary: Float64) -> Float64:
    """Squared magnitude; works in the arrays it is given."""
    real *= real
    imaginary *= imaginary
    real += imaginary
    return real
