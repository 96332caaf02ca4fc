import gc

import numpy as np
import pytest
import torch

from genreray import arrays


def address(array):
    return array.__array_interface__["data"][0]


def test_room_is_given_again_when_nobody_has_it():
    rooms = arrays.Rooms(4)
    first = rooms((4, 2, 3), np.uint8)
    place = address(first)
    del first
    gc.collect()
    again = rooms((4, 2, 3), np.uint8)
    assert address(again) == place


@pytest.mark.parametrize(
    "made",
    [
        lambda given: torch.from_numpy(given)[1:].numpy()[:, :, 1:],  # as clips have it
        lambda given: given[1:][:, :, 1:],
        lambda given: given.reshape(-1).view(np.int8),
    ],
)
def test_whatever_is_made_of_room_keeps_it(made):
    rooms = arrays.Rooms(4)
    given = rooms((4, 2, 3), np.uint8)
    given[:] = 7
    piece = made(given)
    del given
    gc.collect()
    rooms((4, 2, 3), np.uint8)[:] = 9
    assert (piece == 7).all()


def test_the_last_and_smaller_room_is_a_piece_of_one_that_was_there():
    rooms = arrays.Rooms(4)
    place = address(rooms((4, 2, 3), np.float16))
    gc.collect()
    last = rooms((2, 2, 3), np.float16)
    assert (address(last), last.shape) == (place, (2, 2, 3))
    del last
    gc.collect()
    assert rooms((4, 2, 3), np.float16).shape == (4, 2, 3)


def test_each_input_has_room_of_its_own():
    rooms = arrays.Rooms(4)
    rooms((4, 2, 3), np.uint8)
    gc.collect()
    mfcc = rooms((4, 5, 3), np.float16)
    assert (mfcc.shape, mfcc.dtype) == ((4, 5, 3), np.float16)
