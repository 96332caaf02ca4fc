import json
import math

import numpy as np
import pytest

from genreray.dimensions import Choice, Integer, LogUniform, Uniform
from genreray.errors import UserError

ALL = [
    Choice((8, 16, 32)),
    Choice(((8, 16), (16, 32, 64))),
    Choice(("none",)),
    Uniform(0.0, 0.5),
    LogUniform(1e-4, 1e-1),
    Integer(0, 3),
    Integer(1, 100, log=True),
]


@pytest.mark.parametrize("dimension", ALL, ids=repr)
def test_what_is_drawn_is_held(dimension):
    shares = np.random.default_rng(0).random(500)
    assert all(dimension.holds(dimension.at(share)) for share in (0.0, 1.0, *shares))
    assert all(dimension.holds(value) for n in (1, 2, 3, 7) for value in dimension.levels(n))
    assert json.loads(json.dumps(dimension.to_json())) == dimension.to_json()


def test_ranges_are_sampled_evenly_on_their_own_scale():
    shares = (np.arange(1000) + 0.5) / 1000
    logs = [math.log10(LogUniform(1e-4, 1e-1).at(share)) for share in shares]
    assert np.histogram(logs, [-4, -3, -2, -1])[0].tolist() == [333, 334, 333]
    assert np.histogram([Uniform(0.0, 0.5).at(share) for share in shares], 5)[0].tolist() == [200] * 5
    assert np.unique([Integer(0, 3).at(share) for share in shares], return_counts=True)[1].tolist() == [250] * 4
    assert np.unique([Choice("abcd").at(share) for share in shares], return_counts=True)[1].tolist() == [250] * 4
    # of 1 to 8 each octave as often as the next, but for the half numbers at both ends: log2(8.5 / 0.5) = 4.09
    octaves = [math.log2(Integer(1, 8, log=True).at(share)) for share in shares]
    assert sum(octave < 0.5 for octave in octaves) / 1000 == pytest.approx(math.log2(1.5 / 0.5) / 4.0875, abs=0.01)


def test_the_share_is_where_a_number_lies():
    assert LogUniform(1e-4, 1e-1).share(1e-3) == pytest.approx(1 / 3)
    assert Uniform(2.0, 4.0).share(2.5) == pytest.approx(0.25)
    assert Integer(1, 100, log=True).share(10) == pytest.approx(0.5)


def test_levels_of_a_grid_have_both_ends():
    assert LogUniform(1e-4, 1e-1).levels(4) == pytest.approx((1e-4, 1e-3, 1e-2, 1e-1))
    assert Uniform(0.0, 0.5).levels(3) == pytest.approx((0, 0.25, 0.5))
    assert LogUniform(1e-4, 1e-2).levels(1) == pytest.approx((1e-3,))
    assert Integer(0, 3).levels(9) == (0, 1, 2, 3)
    assert Choice((1, 2, 3)).levels(2) == (1, 2, 3)


def test_the_nearest_value_is_in_the_space():
    assert LogUniform(1e-4, 1e-1).nearest(0.5) == 0.1
    assert Integer(1, 5).nearest(9) == 5
    assert Choice((8, 16)).nearest(15) == 16
    assert Choice(("a", "b")).nearest("c") == "a"
    assert Choice(((8, 16), (16, 32))).nearest((16, 32)) == (16, 32)


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda: Choice(()), "nothing"),
        (lambda: Choice((8, 16, 8)), "twice"),
        (lambda: Uniform(1.0, 1.0), "empty"),
        (lambda: Uniform(2.0, 1.0), "empty"),
        (lambda: Uniform(0.0, math.inf), "number"),
        (lambda: Uniform(math.nan, 1.0), "number"),
        (lambda: LogUniform(0.0, 1.0), "above 0"),
        (lambda: Integer(0, 4, log=True), "above 0"),
        (lambda: Integer(1, 2.5), "whole"),
        (lambda: Uniform("0", 1.0), "number"),
    ],
)
def test_what_makes_no_sense_is_refused(make, word):
    with pytest.raises(UserError, match=word):
        make()
