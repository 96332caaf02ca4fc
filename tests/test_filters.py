"""Windows and mel filters, beside those of scipy and librosa."""

import subprocess
import sys

import librosa
import numpy as np
import pytest
import scipy.signal

from genreray import filters

FEATURES = """
import sys
import numpy as np
from genreray.features import FeatureConfig, extract
extract(np.zeros(22050, np.float32), FeatureConfig())
print(*(name for name in sys.modules if name in ("librosa.filters", "scipy.signal", "scipy.sparse", "torch")))
"""


@pytest.mark.parametrize("n_fft", [2, 255, 400, 2048, 4096])
def test_the_window_is_scipys_periodic_hann(n_fft):
    expected = scipy.signal.get_window("hann", n_fft, fftbins=True).astype(np.float32)
    np.testing.assert_array_equal(filters.hann(n_fft), expected)


@pytest.mark.parametrize(
    ("sr", "n_fft", "n_mels"),
    [(22050, 2048, 128), (44100, 4096, 256), (16000, 512, 40), (8000, 400, 1), (48000, 2048, 13)],
)
def test_mel_filters_are_librosas_to_the_bit(sr, n_fft, n_mels):
    found = filters.mel_filters(sr, n_fft, n_mels)
    whole = np.zeros((n_mels, 1 + n_fft // 2), np.float32)
    for band, (start, end) in enumerate(zip(found.starts, found.starts[1:], strict=False)):
        whole[band, found.bins[start:end]] = found.weights[start:end]
    np.testing.assert_array_equal(whole, librosa.filters.mel(sr=sr, n_fft=n_fft, n_mels=n_mels))
    assert len(found.weights) == np.count_nonzero(whole)


@pytest.mark.filterwarnings("ignore:Empty filters")
def test_a_band_that_no_bin_falls_in_is_empty_as_librosas_is():
    found = filters.mel_filters(22050, 256, 128)
    expected = librosa.filters.mel(sr=22050, n_fft=256, n_mels=128)
    np.testing.assert_array_equal(np.diff(found.starts), np.count_nonzero(expected, axis=1))
    assert (np.diff(found.starts) == 0).any()


def test_each_filter_weighs_a_flat_spectrum_alike():
    """A triangle of area 1, over bins that lie 22050 / 65536 Hz apart."""
    found = filters.mel_filters(22050, 65536, 20)
    sums = np.add.reduceat(found.weights.astype(np.float64), found.starts[:-1]) * 22050 / 65536
    np.testing.assert_allclose(sums, 1, rtol=1e-4)


def test_features_want_none_of_what_takes_a_second_to_import():
    done = subprocess.run([sys.executable, "-c", FEATURES], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
