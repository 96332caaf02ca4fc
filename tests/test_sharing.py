"""Clips in Ray's object store: what each worker sees of them is what it would have read."""

import functools

import numpy as np
import pytest
import torch
from making import GENRES, SMALL, feature_rows, write_features

from genreray import sharing
from genreray.checkpoint import Settings
from genreray.featureset import FeatureSet
from genreray.labels import learnable
from genreray.models.mel_cnn import MelCnnConfig
from genreray.sharing import Pool
from genreray.source import SharedSource, Source

INPUTS = ("mel", "mfcc_stats")
SETTINGS = Settings(
    model="mel_cnn",
    model_config=MelCnnConfig(filters=(4,)),
    features=SMALL,
    genres=list(GENRES),
    crop_frames=64,
    n_crops=1,
    training={},
    metrics={},
)


@pytest.fixture(scope="module")
def learnt(tmp_path_factory):
    return learnable(
        FeatureSet.open(write_features(tmp_path_factory.mktemp("s") / "features", feature_rows(60))), "genre"
    )


@pytest.fixture(scope="module")
def shared(ray_session, learnt):
    return sharing.share(learnt, INPUTS, SETTINGS)


def read(learnt, split):
    """The clips of a split as a worker of its own reads them."""
    return Source(learnt.tracks[split].select(["part", "row"]), SETTINGS, INPUTS, True)


def batches(source, seed):
    found = []
    for batch in source.batches(8, torch.Generator().manual_seed(seed)):
        found.append((batch.track_ids, *(batch.inputs[name].numpy() for name in INPUTS), batch.labels, batch.n_frames))
    return found


@pytest.mark.parametrize("split", ["training", "validation"])
def test_batches_are_those_of_clips_that_were_read(shared, learnt, split):
    source = SharedSource(shared.clips(split, INPUTS, 0, 1))
    for one, other in zip(batches(source, 3), batches(read(learnt, split), 3), strict=True):
        for a, b in zip(one, other, strict=True):
            np.testing.assert_array_equal(a, b)


def test_balanced_batches_and_whole_splits_are_too(shared, learnt):
    ours, theirs = SharedSource(shared.clips("training", INPUTS, 0, 1)), read(learnt, "training")
    draws = [
        [batch.track_ids for batch in s.balanced_batches(8, torch.Generator().manual_seed(1))] for s in (ours, theirs)
    ]
    assert draws[0] == draws[1]
    wholes = [dict(zip(s.whole().track_ids, s.whole().inputs["mel"], strict=True)) for s in (ours, theirs)]
    assert wholes[0].keys() == wholes[1].keys()
    assert all(torch.equal(wholes[0][i], wholes[1][i]) for i in wholes[0])


def test_workers_share_training_equally_and_validation_whole(shared, learnt):
    of = {split: [shared.clips(split, INPUTS, rank, 3).track_ids for rank in range(3)] for split in shared.splits}
    n_training, n_validation = (len(learnt.tracks[split]) for split in ("training", "validation"))
    assert [len(ids) for ids in of["training"]] == [n_training // 3] * 3
    assert len({i for ids in of["training"] for i in ids}) == n_training // 3 * 3
    assert sorted(i for ids in of["validation"] for i in ids) == sorted(
        i for batch in read(learnt, "validation").batches(8) for i in batch.track_ids
    )
    assert sum(map(len, of["validation"])) == n_validation


def test_the_memory_is_that_of_the_store(shared):
    clips = [shared.clips("training", INPUTS, rank, 2) for rank in range(2)]
    assert clips[0].held.inputs["mel"].data_ptr() == clips[1].held.inputs["mel"].data_ptr()


def test_a_pool_reads_once_for_all_models(ray_session, learnt):
    pool = Pool(INPUTS)
    first = pool.share(learnt, ["mel"], SETTINGS)
    assert pool.share(learnt, ["mfcc_stats"], SETTINGS) is first
    other = pool.share(learnt, ["mfcc"], SETTINGS)
    assert set(other.clips("validation", ["mfcc"], 0, 1).inputs) == {"mfcc"}


def test_the_stores_of_use_to_a_pool_are_those_of_all_its_inputs_and_of_some(learnt):
    n = sum(map(len, learnt.tracks.values()))
    mel, statistics = n * SMALL.n_mels * SMALL.max_frames, n * 7 * SMALL.n_mfcc * 4
    found = Pool(INPUTS).stores(learnt, ["mel"], SETTINGS)
    assert sorted(size * sharing.STORE_SHARE for size in found) == pytest.approx([statistics, mel, mel + statistics])


def test_what_does_not_fit_is_not_shared(ray_session, learnt, monkeypatch):
    n = sum(map(len, learnt.tracks.values()))
    for room, there in ((n * SMALL.n_mels * SMALL.max_frames, True), (n * SMALL.n_mels * SMALL.max_frames - 1, False)):
        monkeypatch.setattr(
            sharing, "object_store", functools.partial(lambda size: size / sharing.STORE_SHARE + 1e-6, room)
        )
        assert sharing.fits(learnt, ["mel"], SETTINGS) is there
