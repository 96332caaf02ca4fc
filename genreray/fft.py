"""Power spectra of frames side by side: a row of memory has one sample, or one bin, of each of them.

Each operation is then one of whole vectors, as wide as the CPU's are, and nothing has to be moved within them. scipy's
transform, which has vectors of four numbers, takes half as long again; frames of odd sizes are left to it.
"""

import functools
from typing import NamedTuple

import numpy as np
from numba.extending import register_jitable
from numpy.typing import NDArray

from genreray.machine_code import compiled

# Frames side by side. Of 2,048 samples each they take 1 MB with all that is computed of them, which stays in a core's
# cache; with 16 or 32 of them, the shortest loops are too short to be worth the CPU's vectors.
FRAMES = 48

Array = NDArray[np.float32]


class _Plan(NamedTuple):
    """What the transform of one length of frames needs; M is half that length, 4 or 8 and a power of 4 times that."""

    twiddles: Array  # [n_stages, M / 4, 6]: w, w^2 and w^3 of each butterfly, the real part before the imaginary
    order: NDArray[np.int32]  # [M + 1]: the row in which a bin is in the end; that of bin M is that of bin 0
    turns: Array  # [M + 1, 2]: exp(-i pi k / M), the real part before the imaginary


def power_spectra(y: Array, first: int, window: Array, hop_length: int) -> Array:
    """Return the squared magnitudes of FRAMES frames of y from number `first` on, float32 [1 + n_fft / 2, FRAMES].

    Frames are n_fft = len(window) samples centred on each hop, as librosa's are; around y there are zeros.
    """
    n_fft = len(window)
    if n_fft >= 8 and n_fft.bit_count() == 1 and n_fft % hop_length == 0 and hop_length % 2 == 0:
        power: Array = compiled(_transform)(y, first, window, hop_length, *_plan(n_fft // 2))
        return power
    return _any_size(y, first, window, hop_length)


@functools.lru_cache(maxsize=4)
def _plan(half: int) -> _Plan:
    n_stages = (half.bit_length() - 1) // 2
    butterfly, factors = np.arange(half // 4), []
    bin_ = np.arange(half)
    order = np.zeros(half + 1, np.int32)
    for stage in range(n_stages):
        done = 4**stage  # the transform is in so many parts, next to each other in memory
        powers = np.exp(-2j * np.pi * np.outer(butterfly // done, [1, 2, 3]) * done / half)
        factors.append(np.stack([powers.real, powers.imag], axis=2).reshape(-1, 6))
        order[:half] = 4 * order[:half] + bin_ // done % 4  # the digits of the bin, the last one first
    if 4**n_stages < half:  # an odd power of 2: there is a digit left
        order[:half] = 2 * order[:half] + bin_ // 4**n_stages
    turns = np.exp(-1j * np.pi * np.arange(half + 1) / half)
    return _Plan(np.array(factors, np.float32), order, np.stack([turns.real, turns.imag], axis=1).astype(np.float32))


def _transform(
    y: Array, first: int, window: Array, hop_length: int, twiddles: Array, order: NDArray[np.int32], turns: Array
) -> Array:
    """As `power_spectra`, by the transform of half as many complex numbers, whose real parts are the even samples.

    Its stages all read and write in the same places (M. C. Pease, J. ACM 15(2), 1968, at radix 4).
    """
    half, n_stages = len(window) // 2, len(twiddles)
    hops = _turn(y, first * hop_length - half, hop_length, FRAMES + len(window) // hop_length - 1)
    real, imag = _cut_frames(hops, window)
    for stage in range(n_stages):
        real, imag = _stage(real, imag, twiddles[stage])
    if 4**n_stages < half:
        real, imag = _pair(real, imag)
    power: Array = _square(real, imag, order, turns)
    return power


# Each of these makes what it returns: nothing else can lie where that does, and so its loops become ones of vectors.


@register_jitable  # type: ignore[untyped-decorator]  # numba's has no types
def _turn(y: Array, start: int, hop_length: int, n_hops: int) -> Array:
    """Return y from `start` on, a hop a column: float32 [hop_length, n_hops]."""
    hops = np.empty((hop_length, n_hops), np.float32)
    for i in range(n_hops):
        at = start + i * hop_length
        if at >= 0 and at + hop_length <= len(y):
            part = y[at : at + hop_length]
            for j in range(hop_length):
                hops[j, i] = part[j]
        else:
            for j in range(hop_length):
                hops[j, i] = y[at + j] if 0 <= at + j < len(y) else np.float32(0)
    return hops


@register_jitable  # type: ignore[untyped-decorator]
def _cut_frames(hops: Array, window: Array) -> tuple[Array, Array]:
    """Return windows of frames, of which each begins a hop after the one before it: their even and odd samples."""
    hop_length = len(hops)
    n_frames = hops.shape[1] - len(window) // hop_length + 1
    real, imag = np.empty((len(window) // 2, n_frames), np.float32), np.empty((len(window) // 2, n_frames), np.float32)
    for hop in range(len(window) // hop_length):
        for j in range(0, hop_length, 2):
            k = hop * hop_length + j
            even, odd = window[k], window[k + 1]
            for i in range(n_frames):
                real[k // 2, i] = hops[j, hop + i] * even
            for i in range(n_frames):
                imag[k // 2, i] = hops[j + 1, hop + i] * odd
    return real, imag


@register_jitable  # type: ignore[untyped-decorator]
def _stage(real: Array, imag: Array, twiddles: Array) -> tuple[Array, Array]:
    """Take the transform one digit further: butterflies of four rows, a quarter of all apart, to four that follow."""
    quarter = len(twiddles)
    to_real, to_imag = np.empty((len(real), FRAMES), np.float32), np.empty((len(real), FRAMES), np.float32)
    for j in range(quarter):
        re1, im1, re2, im2 = twiddles[j, 0], twiddles[j, 1], twiddles[j, 2], twiddles[j, 3]
        re3, im3 = twiddles[j, 4], twiddles[j, 5]
        for i in range(FRAMES):
            a_re, a_im = real[j, i], imag[j, i]
            b_re, b_im = real[j + quarter, i], imag[j + quarter, i]
            c_re, c_im = real[j + 2 * quarter, i], imag[j + 2 * quarter, i]
            d_re, d_im = real[j + 3 * quarter, i], imag[j + 3 * quarter, i]
            sum_re, sum_im, less_re, less_im = a_re + c_re, a_im + c_im, a_re - c_re, a_im - c_im
            sum2_re, sum2_im, less2_re, less2_im = b_re + d_re, b_im + d_im, b_re - d_re, b_im - d_im
            to_real[4 * j, i] = sum_re + sum2_re
            to_imag[4 * j, i] = sum_im + sum2_im
            re, im = less_re + less2_im, less_im - less2_re
            to_real[4 * j + 1, i] = re * re1 - im * im1
            to_imag[4 * j + 1, i] = re * im1 + im * re1
            re, im = sum_re - sum2_re, sum_im - sum2_im
            to_real[4 * j + 2, i] = re * re2 - im * im2
            to_imag[4 * j + 2, i] = re * im2 + im * re2
            re, im = less_re - less2_im, less_im + less2_re
            to_real[4 * j + 3, i] = re * re3 - im * im3
            to_imag[4 * j + 3, i] = re * im3 + im * re3
    return to_real, to_imag


@register_jitable  # type: ignore[untyped-decorator]
def _pair(real: Array, imag: Array) -> tuple[Array, Array]:
    """Take the transform its last digit, of base 2, further."""
    half = len(real) // 2
    to_real, to_imag = np.empty((len(real), FRAMES), np.float32), np.empty((len(real), FRAMES), np.float32)
    for j in range(half):
        for i in range(FRAMES):
            to_real[2 * j, i] = real[j, i] + real[j + half, i]
            to_imag[2 * j, i] = imag[j, i] + imag[j + half, i]
            to_real[2 * j + 1, i] = real[j, i] - real[j + half, i]
            to_imag[2 * j + 1, i] = imag[j, i] - imag[j + half, i]
    return to_real, to_imag


@register_jitable  # type: ignore[untyped-decorator]
def _square(real: Array, imag: Array, order: NDArray[np.int32], turns: Array) -> Array:
    """Return the squared magnitudes of what the even and the odd samples together have."""
    half, n_frames = real.shape
    power = np.empty((half + 1, n_frames), np.float32)
    for k in range(half + 1):
        at, mirrored, turn_re, turn_im = order[k], order[half - k], turns[k, 0], turns[k, 1]
        for i in range(n_frames):
            # Twice the transforms of the even and of the odd samples, which are real: one is what is symmetric.
            even_re, even_im = real[at, i] + real[mirrored, i], imag[at, i] - imag[mirrored, i]
            odd_re, odd_im = imag[at, i] + imag[mirrored, i], real[mirrored, i] - real[at, i]
            re = even_re + (odd_re * turn_re - odd_im * turn_im)
            im = even_im + (odd_re * turn_im + odd_im * turn_re)
            power[k, i] = np.float32(0.25) * (re * re + im * im)
    return power


def _any_size(y: Array, first: int, window: Array, hop_length: int) -> Array:
    """As `power_spectra`, for every length of frames and hops."""
    import scipy.fft

    frames = np.empty((FRAMES, len(window)), np.float32)
    compiled(_cut_rows)(frames, y, window, first * hop_length - len(window) // 2, hop_length)
    # Frames as columns: the transform then writes spectra in the order of the result.
    power: Array = compiled(_square_all)(scipy.fft.rfft(frames.T, axis=0, overwrite_x=True))
    return power


def _cut_rows(frames: Array, y: Array, window: Array, start: int, hop_length: int) -> None:
    """Set frames [n_frames, n_fft] to windows of y, the first of them from `start` on; around y there are zeros."""
    n_fft = len(window)
    for i in range(len(frames)):
        first, frame = start + i * hop_length, frames[i]
        if first >= 0 and first + n_fft <= len(y):
            part = y[first : first + n_fft]
            for j in range(n_fft):
                frame[j] = part[j] * window[j]
        else:
            for j in range(n_fft):
                inside = 0 <= first + j < len(y)
                frame[j] = y[first + j] * window[j] if inside else np.float32(0)


def _square_all(spectra: NDArray[np.complex64]) -> Array:
    power = np.empty((len(spectra), spectra.shape[1]), np.float32)
    for k in range(len(power)):
        for i in range(power.shape[1]):
            value = spectra[k, i]
            power[k, i] = value.real * value.real + value.imag * value.imag
    return power
