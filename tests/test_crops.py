import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from genreray import crops


def clips(n=40, bins=64, frames=1300, dtype=np.uint8):
    """Noise in every bit."""
    bits = np.random.default_rng(0).integers(0, 256, (n, bins, frames * np.dtype(dtype).itemsize), np.uint8)
    return bits.view(dtype)


def drawn(n_frames, n=32, of=40, frames=1300):
    rng = np.random.default_rng(1)
    return rng.integers(of, size=n), rng.integers(frames - n_frames + 1, size=n)


def by_hand(x, rows, starts, n_frames):
    return np.stack([x[row, :, start : start + n_frames] for row, start in zip(rows, starts, strict=True)])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("n_threads", [1, 2, 3, 50])
def test_threads_cut_what_slices_are(dtype, n_threads):
    x = clips(dtype=dtype)
    rows, starts = drawn(385)
    found = crops.cut(x, rows, starts, 385, n_threads)
    assert found.nbytes > crops._WORTH  # some threads have something to do
    np.testing.assert_array_equal(found, by_hand(x, rows, starts, 385))
    assert (found.dtype, found.flags.c_contiguous) == (x.dtype, True)


def test_float16_is_cut_bit_for_bit():
    x = clips(dtype=np.float16)  # among them infinities and all kinds of no numbers
    rows, starts = drawn(100)
    found = crops.cut(x, rows, starts, 100)
    np.testing.assert_array_equal(found.view(np.uint16), by_hand(x, rows, starts, 100).view(np.uint16))


def test_clips_may_lie_anyhow_in_memory():
    x = clips()[::2, :, 5:1205]
    rows, starts = drawn(50, of=20, frames=1200)
    np.testing.assert_array_equal(crops.cut(x, rows, starts, 50, 2), by_hand(x, rows, starts, 50))


@pytest.mark.parametrize("n_threads", [1, 2])
def test_without_numba_numpy_cuts(monkeypatch, n_threads):
    def missing(function):
        raise ImportError("No module named 'numba'")

    monkeypatch.setattr(crops, "compiled", missing)
    crops._copy.cache_clear()
    try:
        x = clips()
        rows, starts = drawn(385)
        np.testing.assert_array_equal(crops.cut(x, rows, starts, 385, n_threads), by_hand(x, rows, starts, 385))
        assert crops._copy() is crops._copy_by_numpy
    finally:
        crops._copy.cache_clear()


def test_a_gpu_gathers_what_a_cpu_cuts():
    """The one kernel of a GPU, here on a CPU."""
    x, places = clips(), np.stack(drawn(385))
    gathered = crops.gather(torch.from_numpy(x), torch.from_numpy(places), 385)
    np.testing.assert_array_equal(gathered.numpy(), crops.cut(x, *places, 385))


@pytest.mark.parametrize("rows", [[0, 40], [-1, 0]])
def test_clips_that_are_not_there_are_an_error(rows):
    with pytest.raises(IndexError, match="no such clips among 40"):
        crops.cut(clips(), np.array(rows), np.array([0, 0]), 10)


@pytest.mark.parametrize("start", [-1, 1291])
def test_frames_that_are_not_there_are_an_error(start):
    with pytest.raises(IndexError, match="no such 10 frames in clips of 1300"):
        crops.cut(clips(), np.array([0, 1]), np.array([0, start]), 10)


def test_no_clips_give_no_crops():
    assert crops.cut(clips(), np.array([], np.int64), np.array([], np.int64), 10, 2).shape == (0, 64, 10)


def test_what_a_thread_raises_is_raised(monkeypatch):
    here = threading.current_thread()
    copied = threading.Event()

    def copy(*job):
        if threading.current_thread() is not here:
            copied.set()
            raise MemoryError("no more")
        copied.wait(10)  # so that another thread has its turn

    monkeypatch.setattr(crops, "_copy", lambda: copy)
    with pytest.raises(MemoryError, match="no more"):
        crops.cut(clips(), *drawn(385), 385, 2)


def test_batches_of_one_source_can_be_cut_by_several_threads_at_once():
    x = clips()
    jobs = [(*drawn(385 + i), 385 + i, 2) for i in range(8)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda job: crops.cut(x, *job), jobs))
    for crop, (*job, _) in zip(found, jobs, strict=True):
        np.testing.assert_array_equal(crop, by_hand(x, *job))
