import numpy as np
import pytest
import torch
from scipy.stats import chisquare, kstest

from genreray import warp

N, BINS, FRAMES = 3, 16, 50


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def mel():
    return torch.rand((N, BINS, FRAMES), generator=generator(7))


def test_each_clip_moves_up_by_its_own_bins_and_its_edge_is_repeated(mel):
    found = warp.shift(mel, torch.tensor([3, -2, 0])).numpy()
    given = mel.numpy()
    np.testing.assert_array_equal(found[0], np.concatenate([given[0, :1]] * 3 + [given[0, :-3]]))
    np.testing.assert_array_equal(found[1], np.concatenate([given[1, 2:]] + [given[1, -1:]] * 2))
    np.testing.assert_array_equal(found[2], given[2])


def test_shifts_are_uniform_both_ways():
    counts = torch.bincount(warp.draw_shifts(7000, 3, generator()) + 3)
    assert len(counts) == 7
    assert chisquare(counts.numpy()).pvalue > 0.001


def test_a_clip_at_its_own_speed_is_cut_where_it_is_asked_for(mel):
    found = warp.stretch(mel, torch.ones(N), torch.tensor([0.0, 0.5, 1.0]), FRAMES - 10)
    for clip, start in enumerate((0, 5, 10)):
        assert torch.equal(found[clip], mel[clip, :, start : start + FRAMES - 10])


@pytest.mark.parametrize("speed", [0.5, 0.8, 1.1, 1.25])
def test_frames_are_the_nearest_ones_at_each_speed(speed):
    ramp = torch.arange(100.0).expand(1, 2, 100)
    found = warp.stretch(ramp, torch.tensor([speed]), torch.tensor([0.0]), 80)[0, 0]
    assert (found - speed * torch.arange(80)).abs().max() <= 0.5 + 1e-4
    last = warp.stretch(ramp, torch.tensor([speed]), torch.tensor([1.0]), 80)[0, 0]
    assert last[-1] == 99


def test_twice_the_speed_halves_the_distance_of_beats():
    beats = torch.zeros((1, 4, 81))
    beats[:, :, ::8] = 255
    assert warp.frames_for(41, 1.0) == 81
    found = warp.stretch(beats, torch.tensor([2.0]), torch.tensor([0.0]), 41)
    assert torch.nonzero(found[0, 0]).flatten().tolist() == list(range(0, 41, 4))


@pytest.mark.parametrize("time_stretch", [0.0, 0.07, 0.5, 0.99])
@pytest.mark.parametrize("crop_frames", [1, 2, 100, 385])
def test_the_fastest_crop_fits_with_less_than_a_frame_to_spare(time_stretch, crop_frames):
    spare = warp.frames_for(crop_frames, time_stretch) - 1 - (crop_frames - 1) * (1 + time_stretch)
    assert 0 <= spare < 1


def test_speeds_are_as_often_higher_as_lower():
    speeds = warp.draw_speeds(2000, 0.25, generator())
    assert kstest(np.log(speeds.numpy()), "uniform", (-np.log(1.25), 2 * np.log(1.25))).pvalue > 0.001
