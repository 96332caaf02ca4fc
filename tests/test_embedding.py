import itertools

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from making import GENRES, SMALL, feature_rows, write_features
from rich.console import Console

from genreray import checkpoint, dataset, loading, loop, models, tables
from genreray.checkpoint import Settings
from genreray.cluster import Cluster
from genreray.errors import UserError
from genreray.evaluate import evaluate
from genreray.predict import predict_rows
from genreray.progress import Progress
from genreray.tag import tag

CPU = torch.device("cpu")
ON_RAY = {"gpu": "no", "cluster": Cluster(), "progress": Progress(Console(), "test")}


def trained(folder, name):
    torch.manual_seed(0)
    config = models.family(name).config()
    settings = Settings(
        model=name,
        model_config=config,
        features=SMALL,
        genres=list(GENRES),
        crop_frames=64,
        n_crops=2,
        training={},
        metrics={},
        temperature=1.7,
    )
    model = settings.build()
    if name == "svm":
        table = pa.Table.from_pylist(feature_rows(12), schema=tables.FEATURES).slice(0, 12)
        clips = loading.from_table(table, model.inputs, SMALL, GENRES)
        model.fit(clips.inputs, clips.labels, 0)
    checkpoint.save(str(folder), model, settings)
    return str(folder)


@pytest.mark.parametrize("name", ["mel_cnn", "mfcc_cnn", "fusion_cnn", "mlp"])
def test_what_is_said_of_a_track_does_not_depend_on_those_that_are_done_with_it(tmp_path, name):
    """To the bit: a job that was interrupted does other tracks together than one that was not."""
    loaded = checkpoint.load(trained(tmp_path, name))
    table = pa.Table.from_pylist(feature_rows(26), schema=tables.FEATURES)
    whole = predict_rows(table, loaded, 3, CPU, embedding=True)
    for cuts in ([0, 1, 3, 8], [0, 5, 11], [0, 2]):
        blocks = [table.slice(a, b - a) for a, b in itertools.pairwise([*cuts, len(table)])]
        assert pa.concat_tables(predict_rows(block, loaded, 3, CPU, embedding=True) for block in blocks).equals(whole)


@pytest.mark.parametrize("name", ["mel_cnn", "crnn", "fusion_cnn", "mlp", "svm"])
def test_an_embedding_is_what_the_last_layer_sees_over_the_crops(tmp_path, name):
    loaded = checkpoint.load(trained(tmp_path, name))
    table = pa.Table.from_pylist(feature_rows(5), schema=tables.FEATURES)
    found = predict_rows(table, loaded, 3, CPU, embedding=True)
    assert found.schema.equals(tables.predictions(embedding=True))
    plain = predict_rows(table, loaded, 3, CPU)
    for one, other in zip(found.to_pylist(), plain.to_pylist(), strict=True):
        assert one["confidence"] == (pytest.approx(other["confidence"], abs=1e-5) if other["confidence"] else None)
        assert one["genre"] == other["genre"]
    clips = loading.from_table(table.slice(0, 5), loaded.model.inputs, SMALL, GENRES)
    with torch.inference_mode():
        starts = dataset.even_starts(clips.n_frames, 64, 2).unbind(1)
        expected = torch.stack([loaded.model.embed(dataset.crop(clips, place, 64)) for place in starts]).mean(0)
    embeddings = found.column("embedding").to_pylist()
    assert expected.shape == (5, loaded.model.embedding_size)
    np.testing.assert_allclose(np.array(embeddings[:5], np.float32), expected.numpy(), rtol=1e-4, atol=1e-5)
    assert embeddings[5:] == [None] * 3  # tracks that failed


def test_logits_and_embedding_belong_together(tmp_path):
    loaded = checkpoint.load(trained(tmp_path, "mel_cnn"))
    table = pa.Table.from_pylist(feature_rows(4), schema=tables.FEATURES).slice(0, 4)
    clips = loading.from_table(table, ["mel"], SMALL, GENRES)
    how = {"crop_frames": 64, "n_crops": 1, "device": CPU, "temperature": 1.7}
    probabilities, embeddings = loop.predict_and_embed(loaded.model, clips, **how)
    with torch.inference_mode():
        again = (loaded.model.head(embeddings) / 1.7).softmax(1)
    assert torch.allclose(again, probabilities, atol=1e-6)


def test_evaluate_and_tag_write_them(ray_session, tone, tmp_path):
    import soundfile as sf

    run = trained(tmp_path / "run", "mel_cnn")
    features = write_features(tmp_path / "features", feature_rows(36))
    evaluate(features, str(tmp_path / "report"), run, split="test", embedding=True, **ON_RAY)
    scored = pq.read_table(tmp_path / "report" / "predictions.parquet")
    assert {len(row) for row in scored.column("embedding").to_pylist() if row} == {
        checkpoint.load(run).model.embedding_size
    }
    sf.write(tmp_path / "a.wav", tone(22050, 4.0, 440.0), 22050)
    rows = [{"track_id": name, "uri": str(tmp_path / f"{name}.wav")} for name in ("a", "gone")]
    catalog = pa.Table.from_pylist(rows, schema=tables.CATALOG)
    tag(catalog, str(tmp_path / "tags"), run, top_k=1, embedding=True, **ON_RAY)
    labels = pq.read_table(tmp_path / "tags" / "predictions").sort_by("track_id").to_pylist()
    assert np.isfinite(labels[0]["embedding"]).all()
    assert labels[1]["embedding"] is None
    with pytest.raises(UserError, match="other settings .embedding"):
        tag(catalog, str(tmp_path / "tags"), run, top_k=1, **ON_RAY)
