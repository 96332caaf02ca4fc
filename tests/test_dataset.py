import numpy as np
import pyarrow as pa
import pytest
import torch
from making import GENRES, SMALL, feature_row, feature_rows

from genreray import arrays, dataset, loading, tables
from genreray.dataset import Clips
from genreray.errors import UserError
from genreray.features import FeatureConfig
from genreray.mfcc_stats import mfcc_stats
from genreray.rows import Read


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


def test_clips_hold_what_the_table_holds(table, monkeypatch):
    monkeypatch.setattr(arrays, "room", lambda shape, dtype: np.full(shape, 99, dtype))  # what memory held before
    clips = loading.from_table(table, ["mel", "mfcc"], SMALL, GENRES)
    for i, row in enumerate(table.to_pylist()):
        n = row["n_frames"]
        mel = np.frombuffer(row["mel"], np.uint8).reshape(SMALL.n_mels, n)
        mfcc = np.frombuffer(row["mfcc"], np.float16).reshape(SMALL.n_mfcc, n)
        assert np.array_equal(clips.inputs["mel"][i, :, :n], mel)
        assert np.array_equal(clips.inputs["mfcc"][i, :, :n], mfcc)
        assert not clips.inputs["mel"][i, :, n:].any()
        assert not clips.inputs["mfcc"][i, :, n:].any()
        assert GENRES[clips.labels[i]] == row["genre"]
        assert clips.n_frames[i] == n


def test_labels_follow_the_given_order_and_unknown_genres_have_none(table):
    clips = loading.from_table(table.slice(0, 3), ["mel"], SMALL, ["Rock", "Folk"])
    assert clips.labels.tolist() == [1, dataset.NO_LABEL, 0]  # Folk, Jazz, Rock


def test_tables_load_as_one(table):
    whole = loading.from_table(table, ["mel"], SMALL, GENRES)
    pieces = [Read(table.slice(i, 7)) for i in range(0, len(table), 7)]
    loaded = loading.load(pieces, ["mel"], SMALL, GENRES)
    assert torch.equal(loaded.inputs["mel"], whole.inputs["mel"])
    assert (loaded.track_ids, loaded.labels.tolist()) == (whole.track_ids, whole.labels.tolist())


def test_batches_hold_each_clip_once_whatever_the_order_of_arrival(table):
    def ids(clips, seed):
        batches = clips.batches(7, torch.Generator().manual_seed(seed))
        return [batch.track_ids for batch in batches]

    clips = loading.from_table(table, ["mel"], SMALL, GENRES)
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


def noise_clips(n: int = 9) -> Clips:
    generator = torch.Generator().manual_seed(0)
    mel = torch.randint(256, (n, 4, 30), dtype=torch.uint8, generator=generator)
    stats = torch.randn(n, 7, 3, generator=generator)
    return Clips(
        [f"{n - i}" for i in range(n)], {"mel": mel, "mfcc_stats": stats}, torch.full((n,), 30), torch.arange(n)
    )


@pytest.mark.parametrize("crop_frames", [10, 30, 35])  # 35: repeated, which takes another path
def test_a_view_is_cropped_as_a_copy_of_its_clips_is(crop_frames):
    clips, rows = noise_clips(), torch.tensor([5, 0, 5, 8])
    view = clips.view(torch.tensor([8, 5, 1, 0])).view(torch.tensor([1, 3, 1, 0]))
    copy = clips.select(rows)
    assert (view.track_ids, len(view), view.nbytes) == (copy.track_ids, 4, copy.nbytes)
    assert torch.equal(view.labels, rows)
    starts = dataset.random_starts(view.n_frames, crop_frames, torch.Generator().manual_seed(1))
    found, expected = (dataset.crop(each, starts, crop_frames) for each in (view, copy))
    assert found.keys() == expected.keys() == {"mel", "mfcc_stats"}
    for name in found:
        assert torch.equal(found[name], expected[name])
    by_hand = [copy.inputs["mel"][i].repeat(1, 2)[:, start : start + crop_frames] for i, start in enumerate(starts)]
    assert torch.equal(found["mel"], torch.stack(by_hand))


def test_clips_stay_where_they_are_unless_a_gpu_has_room(monkeypatch):
    clips = noise_clips()
    assert clips.kept_on(torch.device("cpu")) is clips
    asked = []
    monkeypatch.setattr(dataset, "fits", lambda n_bytes, device: asked.append(n_bytes) or True)
    view = clips.view(torch.tensor([3, 1]))
    kept = view.kept_on(torch.device("meta"))
    assert asked == [view.nbytes] * 2
    assert {x.device.type for x in kept.inputs.values()} == {"meta"}
    assert (kept.track_ids, kept.labels.tolist(), kept.n_frames.device.type) == (view.track_ids, [3, 1], "cpu")


def full_table(n: int = 6) -> pa.Table:
    rows = [feature_row(f"{i}", "Rock", "training", SMALL.max_frames, SMALL) for i in range(n)]
    return pa.Table.from_pylist(rows, schema=tables.FEATURES)


def test_clips_of_full_length_are_copied_at_once_and_alike(monkeypatch):
    table = pa.concat_tables([full_table().slice(1, 3), full_table().slice(2)])
    clips = loading.from_table(table, ["mel", "mfcc"], SMALL, GENRES)
    for i, row in enumerate(table.to_pylist()):
        assert clips.inputs["mel"][i].numpy().tobytes() == row["mel"]
        assert clips.inputs["mfcc"][i].numpy().tobytes() == row["mfcc"]
    large = table.set_column(table.schema.get_field_index("mel"), "mel", table["mel"].cast(pa.large_binary()))
    assert torch.equal(loading.from_table(large, ["mel"], SMALL, GENRES).inputs["mel"], clips.inputs["mel"])


def test_images_of_another_size_than_their_frames_are_no_clips():
    table = full_table(2)
    mels = table["mel"].to_pylist()
    short_and_long = pa.array([mels[0][:-5], mels[1] + bytes(5)], pa.binary())  # together as long as two
    with pytest.raises(ValueError, match="reshape"):
        loading.from_table(
            table.set_column(table.schema.get_field_index("mel"), "mel", short_and_long), ["mel"], SMALL, GENRES
        )


def test_the_bytes_of_a_clip_are_those_of_its_tensors(table):
    names = ["mel", "mfcc", "mfcc_stats"]
    clips = loading.from_table(table.slice(0, 1), names, SMALL, GENRES)
    assert dataset.clip_bytes(names, SMALL) == sum(x.nbytes for x in clips.inputs.values())


def test_a_clip_of_30_s_has_1292_frames():
    assert FeatureConfig().max_frames == 1292


def stats_of(row):
    mfcc = np.frombuffer(row["mfcc"], np.float16).reshape(SMALL.n_mfcc, row["n_frames"])
    return mfcc_stats(mfcc)


def test_mfcc_stats_are_those_of_the_frames_that_a_clip_has(table):
    clips = loading.from_table(table, ["mfcc_stats"], SMALL, GENRES)
    assert clips.inputs["mfcc_stats"].shape == (len(table), 7, SMALL.n_mfcc)
    assert len(set(table.column("n_frames").to_pylist())) > 1
    for i, row in enumerate(table.to_pylist()):
        assert np.array_equal(clips.inputs["mfcc_stats"][i], stats_of(row))


def test_mfcc_stats_of_a_table_are_taken_as_they_are(table):
    given = np.random.default_rng(0).normal(size=(len(table), 7, SMALL.n_mfcc)).astype(np.float32)
    column = pa.array([x.tobytes() for x in given], pa.binary())
    without_mfcc = table.drop_columns(["mfcc"]).append_column("mfcc_stats", column)
    clips = loading.from_table(without_mfcc, ["mfcc_stats"], SMALL, GENRES)
    assert np.array_equal(clips.inputs["mfcc_stats"], given)
    pieces = [Read(without_mfcc.slice(i, 7)) for i in range(0, len(table), 7)]
    loaded = loading.load(pieces, ["mel", "mfcc_stats"], SMALL, GENRES)
    assert np.array_equal(loaded.inputs["mfcc_stats"], given)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "track 0001 has no mfcc_stats"),
        (np.zeros((7, 20), np.float32).tobytes(), r"mfcc_stats of 140 numbers, where 91 are wanted \(7 x n_mfcc\)"),
    ],
)
def test_mfcc_stats_that_cannot_be_used_are_named(table, value, message):
    good = np.zeros((7, SMALL.n_mfcc), np.float32).tobytes()
    given = table.slice(0, 3).append_column("mfcc_stats", pa.array([good, value, good], pa.binary()))
    with pytest.raises(UserError, match=message):
        loading.from_table(given, ["mfcc_stats"], SMALL, GENRES)


@pytest.mark.parametrize("crop_frames", [20, 130])  # 130: the shorter clips are repeated, which takes another path
def test_mfcc_stats_are_not_cropped(table, crop_frames):
    names = ["mfcc", "mfcc_stats"]
    clips = loading.from_table(table, names, SMALL, GENRES).select(torch.tensor([4, 2, 9]))
    crops = dataset.crop(clips, torch.zeros(3, dtype=torch.int64), crop_frames)
    assert torch.equal(crops["mfcc_stats"], clips.inputs["mfcc_stats"])
    assert crops["mfcc"].shape == (3, SMALL.n_mfcc, crop_frames)
    alone = loading.from_table(table, ["mfcc_stats"], SMALL, GENRES).select(torch.tensor([4, 2, 9]))
    starts = dataset.random_starts(alone.n_frames, crop_frames, torch.Generator())
    assert torch.equal(dataset.crop(alone, starts, crop_frames)["mfcc_stats"], clips.inputs["mfcc_stats"])


def test_inputs_are_made_of_these_columns():
    assert loading.columns(["mel", "mfcc"]) == ["mel", "mfcc"]
    assert loading.columns(["mfcc_stats"]) == ["mfcc"]
    assert loading.columns(["mel", "mfcc_stats", "mfcc"]) == ["mel", "mfcc"]
    assert [dataset.n_bins(name, SMALL) for name in ("mel", "mfcc", "mfcc_stats")] == [32, 13, 7]
