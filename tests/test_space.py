import dataclasses

import numpy as np
import pytest
from networks import FRAMES, NETWORKS, SMALL, inputs_of, standardised

from genreray import models, space
from genreray.dimensions import Choice, Integer, LogUniform, Uniform
from genreray.errors import UserError
from genreray.features import FeatureConfig
from genreray.labels import check_recipe
from genreray.models.mel_cnn import MelCnnConfig
from genreray.recipe import TrainingConfig

MEL_CNN = models.family("mel_cnn")


@pytest.mark.parametrize("name", models.MODELS)
def test_each_models_space_fits_it_and_holds_its_defaults(name):
    family = models.family(name)
    space.check(family.space, family)
    start = space.defaults(family, family.space)
    assert space.apply(start, family) == (family.config(), family.training)
    assert all(dimension.holds(start[field]) for field, dimension in family.space.items())
    assert space.space_from_json(space.space_to_json(family.space), family, "it") == family.space


def test_only_models_that_learn_nothing_have_nothing_to_search():
    assert [name for name, family in models.MODELS.items() if not space.varied(family.space)] == ["random", "prior"]


@pytest.mark.parametrize("name", NETWORKS)
def test_any_point_of_a_networks_space_builds_it(name):
    """The choices of layers, each with the others at random, and small inputs of few bins."""
    family = models.family(name)
    generator = np.random.default_rng(0)
    for field, dimension in family.space.items():
        if not isinstance(dimension, Choice):
            continue
        for value in dimension.values:
            point = {**space.draw(family.space, generator), field: value}
            config, _ = space.apply(point, family)
            model = standardised(models.build(name, config, SMALL, FRAMES, 3)).eval()
            assert model(inputs_of(model, n=2)).shape == (2, 3)


@pytest.mark.parametrize("name", models.MODELS)
def test_a_hundred_random_points_of_each_space_are_valid(name):
    family = models.family(name)
    generator = np.random.default_rng(1)
    for _ in range(100):
        point = space.draw(family.space, generator)
        configs = space.apply(point, family)
        for field, value in point.items():
            owner = configs.model if hasattr(configs.model, field) else configs.training
            assert getattr(owner, field) == value


def test_a_point_changes_what_it_names_and_nothing_else():
    base = space.Configs(MelCnnConfig(kernel_size=5), TrainingConfig(epochs=7))
    config, training = space.apply({"filters": [4, 8], "batch_size": 16, "dropout": 0}, MEL_CNN, base)
    assert config == MelCnnConfig(kernel_size=5, filters=(4, 8), dropout=0.0)
    assert training == TrainingConfig(epochs=7, batch_size=16)
    assert isinstance(config.dropout, float)


def test_a_search_begins_at_the_default_or_as_near_as_the_space_allows():
    found = space.defaults(
        MEL_CNN,
        {
            "learning_rate": LogUniform(1e-3, 1e-1),
            "filters": Choice(((4, 8), (8, 16, 64, 128))),
            "batch_size": Choice((8, 64)),
            "mixup": Choice((0.2,)),
            "freq_masks": Integer(1, 3),
        },
    )
    assert found == {
        "learning_rate": 1e-3,
        "filters": (8, 16, 64, 128),
        "batch_size": 8,
        "mixup": 0.2,
        "freq_masks": 1,
    }


def test_a_grid_is_the_finest_that_the_trials_allow():
    searched = {"learning_rate": LogUniform(1e-4, 1e-2), "kernel_size": Choice((3, 5)), "dropout": Uniform(0.0, 0.5)}
    points = space.grid(searched, 20)
    assert len(points) == 3 * 2 * 3
    assert len({tuple(point.values()) for point in points}) == len(points)
    assert sorted({point["learning_rate"] for point in points}) == pytest.approx([1e-4, 1e-3, 1e-2])
    assert len(space.grid(searched, 24)) == 4 * 2 * 3
    assert len(space.grid({"freq_masks": Integer(0, 3)}, 50)) == 4
    assert space.grid({}, 5) == [{}]
    with pytest.raises(UserError, match="8 points at least: give --trials 8"):
        space.grid(searched, 7)


def test_what_supposes_one_genre_a_track_can_be_left_out():
    for name in models.MODELS:
        family = models.family(name)
        for value in ("none", "sqrt"):
            point = {"class_weights": value, **space.draw(family.space, np.random.default_rng(0))}
            kept = {field: point[field] for field in space.for_several_genres(family.space)}
            check_recipe(space.apply(kept, family).training)


YAML = """
learning_rate: {log_uniform: [1e-4, 1e-1]}   # a text in YAML 1.1
filters: {choice: [[16, 32], [32, 64]]}
dropout: {uniform: [0, 0.5]}
batch_size: {choice: [8, 16, 32]}
freq_masks: {integer: [0, 2]}
time_mask_frames: {log_integer: [4, 64]}
first_crop: {choice: [true, false]}
averaging: ema
l2: 1e-4
"""


def write(tmp_path, text: str) -> str:
    path = tmp_path / "space.yaml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_a_file_is_read_as_it_is_documented(tmp_path):
    assert space.read_space(write(tmp_path, YAML), MEL_CNN) == {
        "learning_rate": LogUniform(1e-4, 1e-1),
        "filters": Choice(((16, 32), (32, 64))),
        "dropout": Uniform(0.0, 0.5),
        "batch_size": Choice((8, 16, 32)),
        "freq_masks": Integer(0, 2),
        "time_mask_frames": Integer(4, 64, log=True),
        "first_crop": Choice((True, False)),
        "averaging": Choice(("ema",)),
        "l2": Choice((1e-4,)),
    }


def test_a_space_comes_back_from_json(tmp_path):
    found = space.read_space(write(tmp_path, YAML), MEL_CNN)
    assert space.space_from_json(space.space_to_json(found), MEL_CNN, "it") == found
    assert space.varied(found) == list(found)[:-2]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("learning_rat: 0.1", ["mel_cnn has no setting 'learning_rat'", "learning_rate"]),
        ("n_trees: 7", ["mel_cnn has no setting 'n_trees'"]),
        ("epochs: {integer: [1, 9]}", ["--epochs"]),
        ("dropout: {uniform: [0, 1.5]}", ["dropout is 1.5"]),
        ("kernel_size: {choice: [3, 4]}", ["kernel size is 4", "odd"]),
        ("batch_size: {uniform: [8, 32]}", ["batch_size takes whole numbers"]),
        ("batch_size: {integer: [8, 32.5]}", ["batch_size takes whole numbers, not 32.5"]),
        ("optimizer: {choice: [adam, rmsprop]}", ["optimizer takes one of adam, adamw, sgd", "rmsprop"]),
        ("filters: {choice: [16, 32]}", ["filters takes lists of whole numbers, not 16"]),
        ("filters: {integer: [16, 32]}", ["filters takes lists of whole numbers", "choice"]),
        ("dropout: {uniform: 0.5}", ["uniform of dropout is 0.5"]),
        ("dropout: {uniform: [0.5]}", ["low, high"]),
        ("dropout: {uniform: [0.5, 0.1]}", ["dropout", "lower number first"]),
        ("learning_rate: {log_uniform: [0, 0.1]}", ["above 0"]),
        ("dropout: {normal: [0, 0.5]}", ["dropout has neither", "log_uniform"]),
        ("dropout: {choice: []}", ["dropout: there is nothing"]),
        ("dropout: much", ["dropout takes numbers, not 'much'"]),
        ("dropout:", ["dropout takes numbers, not None"]),
        ("first_crop: 1", ["first_crop takes true or false"]),
        ("class_weights: sqrt\nsampling: balanced", ["same imbalance"]),
        ("", ["names no setting"]),
        ("- dropout", ["names no setting"]),
        ("3: 4", ["names no setting"]),
        ("a: [", ["not valid YAML"]),
        ("a: !!python/object/apply:os.getcwd []", ["not valid YAML"]),
    ],
)
def test_a_bad_file_is_one_clear_line(tmp_path, text, words):
    uri = write(tmp_path, text)
    with pytest.raises(UserError) as caught:
        space.read_space(uri, MEL_CNN)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(uri)
    assert [word for word in words if word not in str(caught.value)] == []


def test_a_file_that_is_not_there_or_is_no_text(tmp_path):
    with pytest.raises(UserError, match="no.yaml"):
        space.read_space(str(tmp_path / "no.yaml"), MEL_CNN)
    (tmp_path / "space.yaml").write_bytes(b"\x80\x00\xff")
    with pytest.raises(UserError, match="not valid YAML"):
        space.read_space(str(tmp_path / "space.yaml"), MEL_CNN)


def test_crops_that_do_not_fit_are_refused_when_the_network_is_built():
    config, training = space.apply({"crop_frames": 8}, MEL_CNN)
    with pytest.raises(UserError, match="longer crops"):
        models.build("mel_cnn", config, FeatureConfig(), training.crop_frames, 3)


def test_a_range_is_tried_at_both_ends():
    with pytest.raises(UserError, match="label smoothing is 1.0"):
        space.check({"label_smoothing": Uniform(0.0, 1.0)}, MEL_CNN)
    with pytest.raises(UserError, match="batch size is 0"):
        space.check({"batch_size": Integer(0, 8)}, MEL_CNN)


def test_no_field_of_a_model_has_the_name_of_one_of_the_recipe():
    recipe = {field.name for field in dataclasses.fields(TrainingConfig)}
    for family in models.MODELS.values():
        assert not recipe & {field.name for field in dataclasses.fields(family.config)}
