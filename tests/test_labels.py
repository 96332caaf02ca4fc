import itertools

import pytest
from making import GENRES, PARENTS, SMALL, feature_row, feature_rows, tree_rows, write_features

from genreray import labels
from genreray.errors import UserError
from genreray.featureset import FeatureSet
from genreray.recipe import TrainingConfig


@pytest.fixture
def opened(tmp_path):
    folders = (tmp_path / f"features-{i}" for i in itertools.count())
    return lambda rows, parents=PARENTS: FeatureSet.open(write_features(next(folders), rows, genre_parents=parents))


def track(name, split, *genres):
    return {**feature_row(name, genres[0], split, 99, SMALL), "genres": list(genres)}


def test_a_track_of_a_child_is_also_of_its_parents(opened):
    learnt = labels.learnable(opened(tree_rows()), "genres")
    assert learnt.genres == ["Folk", "Jazz", "Oi", "Punk", "Rock"]
    assert learnt.tree == PARENTS
    ids = learnt.tracks["training"].column("track_id").to_pylist()
    above = {"Oi": {"Oi", "Punk", "Rock"}, "Punk": {"Punk", "Rock"}}
    sets = [above.get(row["genres"][0], set(row["genres"])) for row in tree_rows() if row["track_id"] in ids]
    assert learnt.counts == [sum(genre in found for found in sets) for genre in learnt.genres]
    assert 0 < learnt.counts[2] < learnt.counts[3] < learnt.counts[4]
    assert learnt.doubts == []


def test_one_genre_a_track_is_what_usable_rows_have(opened):
    found = opened(tree_rows())
    learnt = labels.learnable(found, "genre")
    assert (learnt.genres, learnt.tree) == (list(GENRES), None)
    for split, rows in learnt.tracks.items():
        assert rows.equals(found.usable(split))


def test_tracks_without_a_genre_of_their_own_count_by_their_genres(opened):
    found = opened([{**row, "genre": None} for row in tree_rows()])
    assert labels.learnable(found, "genres").genres == ["Folk", "Jazz", "Oi", "Punk", "Rock"]
    with pytest.raises(UserError, match="no track in the training split .* has both a genre and features"):
        labels.learnable(found, "genre")


def test_rare_and_unknown_genres_are_left_out_and_said_so(opened):
    rows = tree_rows()
    ska = [track(f"ska{i}", "training", "Ska") for i in range(labels.LEAST_TRACKS)]
    both, polka = track("both", "training", "Jazz", "Ska"), track("polka", "validation", "Polka")
    assert "Ska" in labels.learnable(opened([*rows, *ska]), "genres").genres
    learnt = labels.learnable(opened([*rows, *ska[2:], both, polka]), "genres")
    assert learnt.genres == ["Folk", "Jazz", "Oi", "Punk", "Rock"]
    assert learnt.doubts == [
        "fewer than 5 training tracks are Polka, Ska: these are left out, and so are 4 tracks that have no other"
    ]
    ids = set(learnt.tracks["training"].column("track_id").to_pylist())
    assert "both" in ids
    assert not ids & {"ska2", "ska3", "ska4"}
    assert "polka" not in learnt.tracks["validation"].column("track_id").to_pylist()


def test_a_genre_that_validation_lacks_is_doubted(opened):
    rows = [row for row in tree_rows() if not (row["split"] == "validation" and row["genre"] == "Jazz")]
    (doubt,) = labels.learnable(opened(rows), "genres").doubts
    assert doubt.startswith("no validation track is Jazz:")


def test_many_names_are_cut_short(opened):
    rows = [*tree_rows(), *(track(f"odd{i}", "training", f"Odd {i:02d}") for i in range(20))]
    (doubt,) = labels.learnable(opened(rows), "genres").doubts
    assert "Odd 07 and 12 more" in doubt


def test_features_without_a_tree_are_flat(opened):
    learnt = labels.learnable(opened(tree_rows(), None), "genres")
    assert learnt.tree == {}
    assert learnt.genres == ["Folk", "Jazz", "Oi", "Punk", "Rock"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (feature_rows(), "no training track of .* has a list of genres: extract from a manifest"),
        ([row for row in tree_rows() if row["split"] != "validation"], "no tracks in split 'validation'"),
        ([track(f"{i}", s, "Jazz") for i, s in enumerate(["training"] * 9 + ["validation"])], "fewer than two genres"),
        (
            [row for row in tree_rows() if row["split"] == "training"] + [track("a", "validation", "Polka")],
            "no validation track .* is of a genre that the training tracks have",
        ),
    ],
    ids=["no lists", "no validation", "one genre", "other genres"],
)
def test_features_that_several_genres_cannot_be_learnt_from(opened, rows, message):
    with pytest.raises(UserError, match=message):
        labels.learnable(opened(rows), "genres")


@pytest.mark.parametrize(
    ("change", "flag"),
    [
        ({"class_weights": "sqrt"}, "--class-weights"),
        ({"logit_adjustment": 1.0}, "--logit-adjustment"),
        ({"sampling": "balanced"}, "--sampling"),
    ],
)
def test_corrections_for_imbalance_are_for_one_genre_a_track(change, flag):
    labels.check_recipe(TrainingConfig(label_smoothing=0.1, mixup=0.3))
    with pytest.raises(UserError, match=f"{flag} is for one genre a track"):
        labels.check_recipe(TrainingConfig(**change))
