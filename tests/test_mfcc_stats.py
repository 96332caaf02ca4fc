import numpy as np
import pytest
from scipy import stats

from genreray.mfcc_stats import STATISTICS, mfcc_stats


def reference(mfcc):
    """What FMA's features.py computes, by the functions that it calls."""
    x = mfcc.astype(np.float64)
    functions = {
        "kurtosis": stats.kurtosis,
        "max": np.max,
        "mean": np.mean,
        "median": np.median,
        "min": np.min,
        "skew": stats.skew,
        "std": np.std,
    }
    return np.stack([functions[name](x, axis=1) for name in STATISTICS])


@pytest.mark.parametrize("n_frames", [2, 129, 130, 1292])
def test_statistics_are_those_of_numpy_and_scipy(n_frames):
    rng = np.random.default_rng(n_frames)
    levels = np.linspace(-500, 200, 20)[:, None]
    mfcc = (levels + rng.gamma(2, 30, (20, n_frames))).astype(np.float16)
    ours = mfcc_stats(mfcc)
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, reference(mfcc), rtol=1e-6, atol=1e-6)


def test_a_clip_worked_by_hand():
    # Mean 4, deviations -3 -2 -1 0 6: m2 = 50 / 5, m3 = 180 / 5, m4 = 1394 / 5.
    mfcc = np.array([[2, 10, 1, 4, 3]], np.float16)
    kurtosis, skew = 278.8 / 10**2 - 3, 36 / 10**1.5
    assert mfcc_stats(mfcc)[:, 0].tolist() == pytest.approx([kurtosis, 10, 4, 3, 1, skew, 10**0.5], rel=1e-6)


def test_the_median_of_an_even_number_is_the_mean_of_the_middle_two():
    assert mfcc_stats(np.array([[9, 1, 4, 2]], np.float16))[3, 0] == 3


@pytest.mark.parametrize("value", [0.0, -431.75, 0.1])
def test_a_coefficient_that_never_changes_has_no_skew_and_no_kurtosis(value):
    mfcc = np.full((2, 1292), value, np.float16)
    mfcc[1, 7] = np.nextafter(mfcc[1, 7], np.float16(1e4))  # one step of float16 is a change
    constant, changing = mfcc_stats(mfcc).T
    exact = float(np.float16(value))
    assert constant.tolist() == pytest.approx([0, exact, exact, exact, exact, 0, 0])
    # One of n values differs: skew (n - 2) / sqrt(n - 1), kurtosis n - 2 + 1 / (n - 1) - 3.
    assert changing[[0, 5]].tolist() == pytest.approx([1287 + 1 / 1291, 1290 / 1291**0.5], rel=1e-5)


def test_the_order_of_the_frames_does_not_matter():
    mfcc = np.random.default_rng(0).normal(0, 50, (20, 400)).astype(np.float16)
    assert np.allclose(mfcc_stats(mfcc), mfcc_stats(mfcc[:, ::-1]), rtol=1e-5)
