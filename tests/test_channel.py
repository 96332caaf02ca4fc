import librosa
import numpy as np
import pytest
import torch
from making import SMALL
from scipy.stats import kstest

from genreray import channel
from genreray.mfcc_stats import mfcc_stats

N, FRAMES = 5, 40


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def decibels():
    """Log-mels below 0 dB, far enough inside the range that nothing is clipped."""
    return np.random.default_rng(0).uniform(-60, -20, (N, SMALL.n_mels, FRAMES))


def curves(most=6.0, n=N):
    return channel.draw_curves(n, most, SMALL.n_mels, generator(1))


def grey(decibels):
    return torch.from_numpy((decibels + SMALL.top_db) * 255 / SMALL.top_db).float()


def test_an_equaliser_moves_grey_levels_by_decibels(decibels):
    curve = curves()
    found = channel.equalise({"mel": grey(decibels)}, curve, SMALL)["mel"]
    assert found.numpy() == pytest.approx(grey(decibels + curve.double().numpy()[:, :, None]).numpy(), abs=1e-3)


def test_grey_levels_stay_in_range():
    mel, curve = torch.zeros(1, SMALL.n_mels, 4), torch.zeros(1, SMALL.n_mels)
    mel[0, :3] = torch.tensor([0.0, 100.0, 250.0])[:, None]
    curve[0, :3] = torch.tensor([-5.0, 8.0, 8.0])
    found = channel.equalise({"mel": mel}, curve, SMALL)["mel"]
    assert found[0, :3, 0].tolist() == pytest.approx([0.0, 125.5, 255.0])  # 8 of 80 dB are a tenth of 255


@pytest.mark.parametrize("flat", [False, True])
def test_mfcc_and_their_statistics_are_what_librosa_computes_of_the_equalised_decibels(decibels, flat):
    curve = torch.full((N, SMALL.n_mels), 4.5) if flat else curves()
    after = decibels + curve.double().numpy()[:, :, None]
    mfcc, expected = (librosa.feature.mfcc(S=x, n_mfcc=SMALL.n_mfcc) for x in (decibels, after))
    stats, expected_stats = (np.stack([mfcc_stats(clip) for clip in x]) for x in (mfcc, expected))
    given = {"mfcc": torch.from_numpy(mfcc).float(), "mfcc_stats": torch.from_numpy(stats)}
    found = channel.equalise(given, curve, SMALL)
    assert found["mfcc"].numpy() == pytest.approx(expected, abs=1e-3)
    assert found["mfcc_stats"].numpy() == pytest.approx(expected_stats, abs=1e-3)


def test_curves_are_straight_between_uniform_points_and_of_each_clip_its_own():
    curve = channel.draw_curves(2000, 6.0, 26, generator())  # six points, of which every fifth bin is one
    points = curve[:, ::5].numpy()
    assert points.shape == (2000, 6)
    assert kstest(points.flatten(), "uniform", (-6, 12)).pvalue > 0.001
    assert np.abs(np.corrcoef(points.T) - np.eye(6)).max() < 0.1
    between = np.stack([np.interp(np.arange(26), np.arange(0, 26, 5), row) for row in points])
    assert curve.numpy() == pytest.approx(between, abs=1e-4)


def test_a_mixed_clip_has_statistics_between_its_own_and_its_partners():
    mel = 128 + 10 * torch.randn((4, 6, 500), generator=generator()) * torch.tensor([0.5, 1, 2, 1]).view(4, 1, 1)
    mel = mel + 20 * torch.randn((4, 6, 1), generator=generator(1))
    partner, share = torch.tensor([1, 0, 3, 2]), torch.tensor([1.0, 0.0, 0.25, 0.5])
    given = {"mel": mel, "mfcc": mel - 128, "mfcc_stats": torch.ones(4, 7, 6)}
    found = channel.mix_styles(given, partner, share)
    for name in ("mel", "mfcc"):
        x, y = given[name].numpy().astype(np.float64), found[name].numpy()
        for i in range(4):
            own, other = float(share[i]), int(partner[i])
            mean = own * x[i].mean(1) + (1 - own) * x[other].mean(1)
            std = own * x[i].std(1) + (1 - own) * x[other].std(1)
            assert y[i].mean(1) == pytest.approx(mean, abs=1e-3)
            assert y[i].std(1) == pytest.approx(std, abs=1e-3)
            score = (x[i] - x[i].mean(1, keepdims=True)) / x[i].std(1, keepdims=True)
            assert (y[i] - mean[:, None]) / std[:, None] == pytest.approx(score, abs=1e-3)
    assert torch.equal(found["mfcc_stats"], given["mfcc_stats"])


def test_bands_without_any_variance_stay_finite():
    mel = torch.zeros(2, 3, 10)
    mel[1] = 255 * torch.rand((3, 10), generator=generator())
    found = channel.mix_styles({"mel": mel}, torch.tensor([1, 0]), torch.tensor([0.5, 0.5]))["mel"]
    assert found.isfinite().all()
    assert found.min() >= 0
    assert found.max() <= 255


def test_styles_are_mixed_as_often_as_asked():
    partner, share = channel.draw_styles(4000, 0.25, generator())
    assert sorted(partner.tolist()) == list(range(4000))
    assert (share < 1).float().mean() == pytest.approx(0.25, abs=0.03)
    assert kstest(share[share < 1].numpy(), "beta", (0.4, 0.4)).pvalue > 0.001
