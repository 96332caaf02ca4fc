import itertools
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from making import GENRES, SMALL, feature_rows, write_features

import genreray.source
from genreray import arrays, dataset, parts, train_worker
from genreray.checkpoint import Settings
from genreray.featureset import FeatureSet
from genreray.feed import place_dataset, row_dataset
from genreray.models.mel_cnn import MelCnnConfig
from genreray.recipe import TrainingConfig
from genreray.source import Source
from genreray.train_worker import WorkerTask, collect_places

SETTINGS = Settings(
    model="mel_cnn",
    model_config=MelCnnConfig(),
    features=SMALL,
    genres=list(GENRES),
    crop_frames=64,
    n_crops=1,
    training={},
    metrics={},
)


@pytest.fixture
def features(tmp_path):
    return FeatureSet.open(write_features(tmp_path / "features", feature_rows()))


@pytest.fixture
def windows_of_ten(monkeypatch):
    monkeypatch.setattr(genreray.source, "_WINDOW", 10)


def clips_of(index, in_memory):
    return Source(index.select(["part", "row"]), SETTINGS, ["mel"], in_memory)


def ids(batches):
    return [batch.track_ids for batch in batches]


def flat(batches):
    return list(itertools.chain.from_iterable(ids(batches)))


def clips_by_id(clips):
    found = {}
    for batch in clips.batches(4):
        found |= dict(zip(batch.track_ids, batch.inputs["mel"], strict=True))
    return found


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def test_streamed_and_kept_clips_are_the_same(features, windows_of_ten):
    index = features.usable("training")
    kept, streamed = (clips_by_id(clips_of(index, in_memory)) for in_memory in (True, False))
    assert kept.keys() == streamed.keys() == set(index.column("track_id").to_pylist())
    assert all(torch.equal(kept[track_id], streamed[track_id]) for track_id in kept)


@pytest.mark.parametrize("in_memory", [True, False])
def test_an_epoch_is_shuffled_by_its_seed_alone(features, windows_of_ten, in_memory):
    clips = clips_of(features.usable("training"), in_memory)
    assert ids(clips.batches(4, seeded(1))) == ids(clips.batches(4, seeded(1)))
    assert ids(clips.batches(4, seeded(1))) != ids(clips.batches(4, seeded(2)))
    assert sorted(flat(clips.batches(4, seeded(1)))) == sorted(flat(clips.batches(4)))


def test_other_clips_meet_in_a_streamed_window_every_epoch(features, windows_of_ten):
    clips = clips_of(features.usable("training"), False)
    first = [frozenset(flat(clips.batches(10, seeded(seed)))[:10]) for seed in range(5)]
    assert len(set(first)) > 1


def test_streamed_clips_stay_as_they_are_for_as_long_as_somebody_has_them(features, windows_of_ten):
    """Windows are read into memory that earlier ones left."""
    clips = clips_of(features.usable("training"), False)
    kept = clips_by_id(clips_of(features.usable("training"), True))
    for seed in range(3):
        had = list(clips.batches(4, seeded(seed)))  # copied when they are asked for, after all of them were read
        assert all(
            torch.equal(x, kept[i]) for view in had for i, x in zip(view.track_ids, view.inputs["mel"], strict=True)
        )


def test_streamed_windows_are_read_into_memory_that_earlier_ones_left(features, windows_of_ten, monkeypatch):
    made, room = [], arrays.room
    monkeypatch.setattr(arrays, "room", lambda *wanted: made.append(wanted) or room(*wanted))
    clips = clips_of(features.usable("training"), False)
    for seed in range(6):
        assert len(flat(clips.batches(4, seeded(seed)))) == 36  # four windows
    assert len(made) <= 4  # one in use, two ahead, and one that is about to go


def test_a_streamed_epoch_reads_each_part_once_but_where_windows_cut_it(features, windows_of_ten, monkeypatch):
    index = features.usable("training")
    n_parts = len(set(index.column("part").to_pylist()))
    read, original = [], parts.opened
    monkeypatch.setattr(parts, "opened", lambda uri: read.append(uri) or original(uri))
    assert len(flat(clips_of(index, False).batches(4, seeded(0)))) == len(index)
    assert len(set(read)) == n_parts > 1
    assert len(read) <= n_parts + len(index) // 10


def test_workers_with_as_many_places_get_as_many_batches(features, windows_of_ten):
    """However the places lie in parts: workers that step together would wait for each other for good."""
    index = features.usable("training")
    random = np.random.default_rng(0)
    counts = {
        len(ids(clips_of(index.take(random.permutation(32)[:25]), False).batches(4, seeded(s)))) for s in range(8)
    }
    assert counts == {3 + 3 + 2}


def test_ray_data_deals_every_place_out_once(ray_session, features):
    index = features.usable("training")
    shards = place_dataset(index).streaming_split(2, equal=True)
    with ThreadPoolExecutor(2) as workers:  # each shard waits for the other to be read
        shares = list(workers.map(collect_places, shards))
    assert [len(share) for share in shares] == [18, 18]
    dealt = {(row["part"], row["row"]) for share in shares for row in share.to_pylist()}
    assert dealt == {(row["part"], row["row"]) for row in index.to_pylist()}


def test_rows_come_whole_through_ray_data(ray_session, features):
    index = features.rows("test")
    rows = row_dataset(index, ["track_id", "status", "mel"]).take_all()
    expected = {row["track_id"]: row.get("mel") for row in feature_rows() if row["split"] == "test"}
    assert {row["track_id"]: row["mel"] for row in rows} == expected


def test_clips_are_kept_where_all_of_a_worker_fit(features):
    index = features.usable("training").select(["part", "row"])
    size = 36 * dataset.clip_bytes(["mel"], SMALL)
    for memory, kept in ((size, True), (size - 1, False)):
        task = WorkerTask("", SETTINGS, TrainingConfig(), [12, 12, 12], threads=1, memory=memory)
        source = train_worker._open(index, task, 36, ["mel"])
        assert (source._clips is not None) is kept
        assert len(source) == len(flat(source.batches(8))) == 36
