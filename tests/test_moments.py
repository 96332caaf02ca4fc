import numpy as np
import pytest
import torch
from sklearn.preprocessing import StandardScaler

from genreray import moments
from genreray.dataset import Clips


def clips(inputs, n_frames):
    n = len(n_frames)
    return Clips([str(i) for i in range(n)], inputs, torch.tensor(n_frames), torch.zeros(n, dtype=torch.int64))


def some_clips(n=70, seed=0):
    """Clips of various lengths, with rubbish after the end of each; and the frames that they really have."""
    rng = np.random.default_rng(seed)
    n_frames = rng.integers(3, 21, n).tolist()
    levels = rng.uniform(-400, 400, 5)[None, :, None]
    mel = rng.integers(0, 256, (n, 6, 20), dtype=np.uint8)
    mfcc = (levels + rng.normal(0, 7, (n, 5, 20))).astype(np.float16)
    frames = {
        name: np.concatenate([x[i, :, : n_frames[i]].T for i in range(n)]).astype(np.float64)
        for name, x in (("mel", mel), ("mfcc", mfcc))
    }
    return clips({"mel": torch.from_numpy(mel), "mfcc": torch.from_numpy(mfcc)}, n_frames), frames


@pytest.mark.parametrize("name", ["mel", "mfcc"])
def test_moments_are_scikit_learns_over_the_frames_that_clips_have(name):
    some, frames = some_clips()
    found, scaler = moments.of(some, name), StandardScaler().fit(frames[name])
    assert found.count == len(frames[name])
    np.testing.assert_allclose(found.mean, scaler.mean_, rtol=1e-12)
    np.testing.assert_allclose(found.std, scaler.scale_, rtol=1e-9)
    assert {found.count.dtype, found.sum.dtype, found.sum_of_squares.dtype} == {torch.float64}


def test_statistics_of_clips_are_counted_clip_by_clip():
    x = np.random.default_rng(0).normal(30, 4, (40, 7, 5)).astype(np.float32)
    found = moments.of(clips({"mfcc_stats": torch.from_numpy(x)}, [3] * 40), "mfcc_stats")
    scaler = StandardScaler().fit(x.reshape(40, 35).astype(np.float64))
    assert found.mean.shape == (7, 5)
    np.testing.assert_allclose(found.mean.flatten(), scaler.mean_, rtol=1e-9)
    np.testing.assert_allclose(found.std.flatten(), scaler.scale_, rtol=1e-9)


def test_the_moments_of_workers_add_up():
    some, _ = some_clips()
    whole = moments.of(some, "mfcc")
    shares = [moments.of(some.select(rows), "mfcc") for rows in torch.arange(len(some)).split(19)]
    nobody = moments.of(some.select(torch.arange(0)), "mfcc")
    total = sum(shares[1:], shares[0]) + nobody
    torch.testing.assert_close(total.mean, whole.mean)
    torch.testing.assert_close(total.std, whole.std)
    assert total.count == whole.count
    assert nobody.std.isfinite().all()


def test_a_bin_that_never_varies_can_be_divided_by():
    x = torch.full((9, 3, 5), 0.1, dtype=torch.float16)
    x[:, 1] = 0
    x[:, 2, ::2] = 60000  # far from 0, in the range of float16
    found = moments.of(clips({"mfcc": x}, [5] * 9), "mfcc")
    assert found.std[:2].tolist() == [1.0, 1.0]
    assert found.std[2] == pytest.approx(np.std(x[0, 2].double().numpy()))


def test_a_small_variation_on_a_large_level_is_kept():
    x = torch.tensor([1000.0, 1000.5] * 50, dtype=torch.float16).repeat(4, 2, 1)
    assert moments.of(clips({"mfcc": x}, [100] * 4), "mfcc").std.tolist() == pytest.approx([0.25, 0.25], rel=1e-6)
