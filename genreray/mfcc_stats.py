"""MFCC -> 7 statistics of each coefficient over a whole clip, as FMA's features.csv has them."""

import numpy as np
from numpy.typing import NDArray

STATISTICS = ("kurtosis", "max", "mean", "median", "min", "skew", "std")  # the rows, in the order of features.csv


def mfcc_stats(mfcc: NDArray[np.float16]) -> NDArray[np.float32]:
    """Return the statistics of each row of MFCC, [n_mfcc, n_frames]: float32 [7, n_mfcc], rows as STATISTICS.

    They are FMA's (features.py of github.com/mdeff/fma): numpy's median and standard deviation (of the population),
    and scipy.stats' kurtosis (Fisher's, 0 for a normal distribution) and skew, both biased: m4 / m2**2 - 3 and
    m3 / m2**1.5 of the central moments. A coefficient that never changes has no shape, 0 / 0 by these formulas: it
    gets 0 for both, those of a normal distribution, as one NaN would make all that a model computes NaN.
    """
    # In float64 the sum of equal float16 values is exact: m2 is then 0 where nothing changes, and nowhere else.
    x = mfcc.astype(np.float64)
    n_frames = x.shape[1]
    mean = x.mean(axis=1)
    x -= mean[:, None]
    squares = np.square(x)
    m2, m3, m4 = (np.vecdot(a, b) / n_frames for a, b in ((x, x), (squares, x), (squares, squares)))
    varies = m2 > 0
    safe = np.where(varies, m2, 1.0)
    kurtosis = np.where(varies, m4 / safe**2 - 3, 0.0)
    skew = np.where(varies, m3 / safe**1.5, 0.0)
    # One sort is several times as fast as np.median, and has both ends as well.
    order = np.sort(mfcc.astype(np.float32), axis=1)
    median = (order[:, (n_frames - 1) // 2] + order[:, n_frames // 2]) / 2
    return np.stack([kurtosis, order[:, -1], mean, median, order[:, 0], skew, np.sqrt(m2)]).astype(np.float32)
