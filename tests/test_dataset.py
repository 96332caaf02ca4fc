import numpy as np
import pyarrow as pa
import pytest
import torch
from making import GENRES, SMALL, feature_rows

from genreray import dataset, tables
from genreray.dataset import Clips
from genreray.features import FeatureConfig


@pytest.fixture(scope="module")
def table():
    return pa.Table.from_pylist([row for row in feature_rows() if row["status"] == "ok"], schema=tables.FEATURES)


def counting_clips(n_frames: list[int], frames: int = 12) -> Clips:
    """Clips whose frame t holds the number t in every bin, 99 after the end."""
    x = torch.full((len(n_frames), 4, frames), 99, dtype=torch.uint8)
    for i, n in enumerate(n_frames):
        x[i, :, :n] = torch.arange(n, dtype=torch.uint8)
    ids = [str(i) for i in range(len(n_frames))]
    return Clips(ids, {"mel": x}, torch.tensor(n_frames), torch.zeros(len(n_frames), dtype=torch.int64))


def test_clips_hold_what_the_table_holds(table):
    clips = dataset.from_table(table, ["mel", "mfcc"], SMALL, GENRES)
    for i, row in enumerate(table.to_pylist()):
        n = row["n_frames"]
        mel = np.frombuffer(row["mel"], np.uint8).reshape(SMALL.n_mels, n)
        mfcc = np.frombuffer(row["mfcc"], np.float16).reshape(SMALL.n_mfcc, n)
        assert np.array_equal(clips.inputs["mel"][i, :, :n], mel)
        assert np.array_equal(clips.inputs["mfcc"][i, :, :n], mfcc)
        assert not clips.inputs["mel"][i, :, n:].any()
        assert GENRES[clips.labels[i]] == row["genre"]
        assert clips.n_frames[i] == n


def test_labels_follow_the_given_order_and_unknown_genres_have_none(table):
    clips = dataset.from_table(table.slice(0, 3), ["mel"], SMALL, ["Rock", "Folk"])
    assert clips.labels.tolist() == [1, dataset.NO_LABEL, 0]  # Folk, Jazz, Rock


def test_tables_load_as_one_and_no_further_than_the_room(table):
    whole = dataset.from_table(table, ["mel"], SMALL, GENRES)
    pieces = [table.slice(i, 7) for i in range(0, len(table), 7)]
    assert torch.equal(dataset.load(pieces, 100, ["mel"], SMALL, GENRES).inputs["mel"], whole.inputs["mel"])
    assert dataset.load(pieces, 10, ["mel"], SMALL, GENRES).track_ids == whole.track_ids[:10]


def test_batches_hold_each_clip_once_whatever_the_order_of_arrival(table):
    def ids(clips, seed):
        batches = clips.batches(7, torch.Generator().manual_seed(seed))
        return [batch.track_ids for batch in batches]

    clips = dataset.from_table(table, ["mel"], SMALL, GENRES)
    arrived = clips.select(torch.randperm(len(clips), generator=torch.Generator().manual_seed(9)))
    assert sorted(track_id for batch in ids(clips, 1) for track_id in batch) == sorted(clips.track_ids)
    assert ids(clips, 1) == ids(arrived, 1)
    assert ids(clips, 1) != ids(clips, 2)


def test_random_starts_reach_every_place_that_fits_equally_often():
    starts = dataset.random_starts(torch.full((6000,), 12), 10, torch.Generator().manual_seed(0))
    assert torch.bincount(starts).tolist() == pytest.approx([2000, 2000, 2000], rel=0.1)


def test_even_starts_span_the_clip():
    n_frames = torch.tensor([100, 21, 5])
    assert dataset.even_starts(n_frames, 20, 3).tolist() == [[0, 40, 80], [0, 0, 1], [0, 0, 0]]
    assert dataset.even_starts(n_frames, 20, 1).tolist() == [[40], [0], [0]]


def test_a_crop_is_the_frames_from_its_start():
    clips = counting_clips([12, 9])
    crops = dataset.crop(clips, torch.tensor([3, 5]), 4)["mel"]
    assert crops[:, 0].tolist() == [[3, 4, 5, 6], [5, 6, 7, 8]]
    assert torch.equal(crops[:, 0], crops[:, 3])


def test_a_short_clip_is_repeated_to_fill_the_crop():
    crops = dataset.crop(counting_clips([3]), torch.tensor([0]), 7)["mel"]
    assert crops[0, 0].tolist() == [0, 1, 2, 0, 1, 2, 0]


def test_the_bytes_of_a_clip_are_those_of_its_tensors(table):
    clips = dataset.from_table(table.slice(0, 1), ["mel", "mfcc"], SMALL, GENRES)
    assert dataset.clip_bytes(["mel", "mfcc"], SMALL) == sum(x.nbytes for x in clips.inputs.values())


def test_a_clip_of_30_s_has_1292_frames():
    assert FeatureConfig().max_frames == 1292
