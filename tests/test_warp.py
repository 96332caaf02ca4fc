import numpy as np
import pytest
import torch
from scipy.stats import kstest

from genreray import warp

N, BINS, FRAMES = 3, 16, 50


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def inputs():
    draw = generator(7)
    return {
        "mel": torch.randint(256, (N, BINS, FRAMES), generator=draw, dtype=torch.uint8),
        "mfcc": (20 * torch.randn((N, 5, FRAMES), generator=draw)).half(),
        "mfcc_stats": torch.randn((N, 7, 5), generator=draw),
    }


def numbers(*values):
    return torch.tensor(values)


def test_nothing_drawn_leaves_the_crop_as_it_is(inputs):
    found = warp.warp(inputs, torch.zeros(N), torch.ones(N), torch.zeros(N), FRAMES)
    for name, x in inputs.items():
        torch.testing.assert_close(found[name], x.float(), rtol=0, atol=2e-2)  # of 255


def test_bins_and_frames_are_interpolated_as_numpy_does(inputs):
    shifts, speeds, places = numbers(2.0, -1.5, 0.25), numbers(1.2, 0.8, 1.0), numbers(0.0, 0.5, 1.0)
    found = warp.warp(inputs, shifts, speeds, places, 40)
    for i in range(N):
        start = float(places[i]) * (FRAMES - 1 - float(speeds[i]) * 39)
        frames = start + float(speeds[i]) * np.arange(40)
        for name, shift in (("mel", float(shifts[i])), ("mfcc", 0.0)):
            x = inputs[name][i].double().numpy()
            stretched = np.stack([np.interp(frames, np.arange(FRAMES), row) for row in x])
            bins = np.arange(len(x)) - shift
            expected = np.stack([np.interp(bins, np.arange(len(x)), column) for column in stretched.T], 1)
            assert found[name][i].numpy() == pytest.approx(expected, abs=0.05)
    assert torch.equal(found["mfcc_stats"], inputs["mfcc_stats"])


def test_a_band_moves_up_by_the_shift_in_its_own_clip_alone():
    mel = torch.zeros((2, BINS, FRAMES), dtype=torch.uint8)
    mel[:, 5] = 200
    found = warp.warp({"mel": mel}, numbers(3.0, 0.0), torch.ones(2), torch.zeros(2), FRAMES)["mel"]
    assert found.mean(2).argmax(1).tolist() == [8, 5]
    assert found[0, 8].mean().item() == pytest.approx(200, abs=0.1)


def test_twice_the_speed_halves_the_distance_of_beats():
    mel = torch.zeros((1, 4, 81), dtype=torch.uint8)
    mel[:, :, ::8] = 255
    n = 41
    assert warp.frames_for(n, 1.0) == 81
    found = warp.warp({"mel": mel}, torch.zeros(1), numbers(2.0), torch.zeros(1), n)["mel"]
    assert torch.nonzero(found[0, 0] > 200).flatten().tolist() == list(range(0, 41, 4))


@pytest.mark.parametrize("time_stretch", [0.0, 0.07, 0.5, 0.99])
@pytest.mark.parametrize("crop_frames", [1, 2, 100, 385])
def test_the_fastest_crop_fits_with_less_than_a_frame_to_spare(time_stretch, crop_frames):
    spare = warp.frames_for(crop_frames, time_stretch) - 1 - (crop_frames - 1) * (1 + time_stretch)
    assert 0 <= spare < 1


def test_speeds_are_as_often_higher_as_lower():
    speeds = warp.draw_speeds(2000, 0.25, generator())
    assert kstest(np.log(speeds.numpy()), "uniform", (-np.log(1.25), 2 * np.log(1.25))).pvalue > 0.001
