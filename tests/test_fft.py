"""Power spectra, beside numpy's FFT in double precision."""

import numpy as np
import pytest
import scipy.fft
from sounds import noise, tone

from genreray import fft

USUAL = [(2048, 512), (2048, 2048), (1024, 256), (1024, 8), (4096, 1024), (512, 128), (256, 256), (16, 2), (8, 8)]
OTHERS = [(2048, 441), (2048, 1), (1024, 2000), (6, 3), (2, 1), (4, 2), (2000, 500)]
RATE = 22050


def window_of(n_fft):
    return np.hanning(n_fft + 1)[:-1].astype(np.float32) + np.float32(0.01)


def spectra(y, n_fft, hop_length, first=0):
    power = fft.power_spectra(y, first, window_of(n_fft), hop_length)
    assert (power.shape, power.dtype) == ((1 + n_fft // 2, fft.FRAMES), np.float32)
    return power


def numpys(y, n_fft, hop_length, first=0):
    """The same frame by frame, float64."""
    padded = np.pad(y.astype(np.float64), (n_fft // 2, n_fft // 2 + hop_length * (first + fft.FRAMES)))
    frames = [padded[i * hop_length :][:n_fft] for i in range(first, first + fft.FRAMES)]
    return (np.abs(np.fft.rfft(np.array(frames) * window_of(n_fft))) ** 2).T


def assert_numpys(y, n_fft, hop_length, first=0):
    found, expected = (one(y, n_fft, hop_length, first) for one in (spectra, numpys))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-10 * expected.max())


@pytest.mark.parametrize(("n_fft", "hop_length"), USUAL + OTHERS)
def test_power_is_that_of_each_frame(n_fft, hop_length):
    y = noise(RATE, 5.0)
    assert_numpys(y, n_fft, hop_length)
    assert_numpys(y, n_fft, hop_length, first=11)


@pytest.mark.parametrize(("n_fft", "hop_length"), [(2048, 512), (1024, 256), (512, 512), (2048, 441)])
@pytest.mark.parametrize("n_samples", [1, 2, 511, 2047, 2048, 20_001, 64 * 512, 64 * 512 + 1])
def test_around_the_samples_there_is_silence(n_fft, hop_length, n_samples):
    y = noise(RATE, 5.0)[:n_samples]
    assert_numpys(y, n_fft, hop_length)
    last = n_samples // hop_length
    assert_numpys(y, n_fft, hop_length, first=last)
    assert (spectra(np.zeros_like(y), n_fft, hop_length) == 0).all()


@pytest.mark.parametrize(("n_fft", "hop_length"), USUAL)
def test_usual_sizes_are_not_left_to_scipy(n_fft, hop_length, monkeypatch):
    monkeypatch.setattr(scipy.fft, "rfft", None)
    assert np.isfinite(spectra(noise(RATE, 5.0), n_fft, hop_length)).all()


@pytest.mark.parametrize(("n_fft", "hop_length"), OTHERS)
def test_other_sizes_are(n_fft, hop_length, monkeypatch):
    monkeypatch.setattr(fft, "_transform", None)
    assert np.isfinite(spectra(noise(RATE, 5.0), n_fft, hop_length)).all()


def test_a_frame_has_the_same_bits_wherever_it_lies_among_others():
    y = noise(RATE, 5.0)
    found = spectra(y, 2048, 512)
    for first in (1, 7, 32, fft.FRAMES - 1):
        np.testing.assert_array_equal(spectra(y, 2048, 512, first)[:, : fft.FRAMES - first], found[:, first:])


@pytest.mark.parametrize("n_fft", [8, 16, 32])
def test_compiled_loops_have_the_bits_of_numpys_numbers_whatever_the_cpu_has(n_fft):
    """Where it multiplies and adds in one step, which rounds once, it is not to be used."""
    y, window = noise(RATE, 1.0), window_of(n_fft)
    plain = fft._transform(y, 5, window, n_fft // 4, *fft._plan(n_fft // 2))
    np.testing.assert_array_equal(spectra(y, n_fft, n_fft // 4, 5), plain)


@pytest.mark.parametrize("level", [1e-6, 1.0, 1e4])
def test_what_is_faint_beside_a_tone_is_as_exact_as_scipy_has_it(level):
    """Where rounding is most: bins 120 dB and more below a tone."""
    y = level * (tone(RATE, 5.0, 1000.0) + np.float32(1e-6) * noise(RATE, 5.0))
    exact = numpys(y, 2048, 512)
    ours = spectra(y, 2048, 512)
    scipys = fft._any_size(y, 0, window_of(2048), 512)
    off, scipys_off = (np.abs(np.sqrt(one) - np.sqrt(exact)) for one in (ours, scipys))
    assert np.sqrt((off**2).mean()) < 1.5 * np.sqrt((scipys_off**2).mean())
    assert off.max() < 2e-7 * np.sqrt(exact.max())
