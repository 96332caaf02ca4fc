"""Tables, checkpoints and names of strangers: they run no code, lead nowhere else, and are text on every page."""

import importlib
import json
import pickle
import re
from html.parser import HTMLParser
from pathlib import Path

import cloudpickle
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import ray.data  # noqa: F401 - registers its extension types, as every job does
import soundfile as sf
import sounds
import torch
from making import SMALL, feature_row, feature_rows, write_features
from rich.console import Console

from genreray import checkpoint, cli, comparison_page, models, part_rows, tables
from genreray.catalog import read_catalog
from genreray.checkpoint import Settings
from genreray.cluster import Cluster
from genreray.comparison import Comparison, Failure, System
from genreray.errors import UserError
from genreray.evaluate import evaluate
from genreray.extract import extract
from genreray.featureset import FeatureSet
from genreray.outputs import lists
from genreray.outputs.answers import View
from genreray.parts import Parts
from genreray.progress import Progress

NAMES = [
    "../../outside",
    "/etc/outside",
    "..",
    "a\0b",
    "a/../../b",
    "~/outside",
    "C:\\outside",
    "s3://bucket/outside",
    "x" * 3000,
    "new\nline",
    "$(touch outside)",
]
MARKUP = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</style></svg><b>bold</b>",
    "{{ 7 * 7 }} $\\frac{ & naïve ☃",
]


class Bomb:
    """Makes a file where it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self):
        return Path.touch, (self.trace,)


@pytest.fixture
def trace(tmp_path):
    """A file that must not appear."""
    return tmp_path / "exploded"


def pickled(trace: Path, n: int = 1) -> pa.Array:
    """A column that Ray unpickles as soon as its values are looked at."""
    from ray.data._internal.object_extensions.arrow import ArrowPythonObjectType

    storage = pa.array([pickle.dumps(Bomb(trace))] * n, pa.large_binary())
    return pa.ExtensionArray.from_storage(ArrowPythonObjectType(), storage)


def test_the_bombs_are_live(trace, tmp_path):
    """Or the tests below would prove nothing."""
    pq.write_table(pa.table({"path": pickled(trace)}), tmp_path / "bomb.parquet")
    table = pq.read_table(tmp_path / "bomb.parquet")
    assert not trace.exists()
    table["path"].to_pylist()
    assert trace.exists()


@pytest.mark.parametrize("nested", [False, True])
def test_a_manifest_of_pickled_values_is_refused_unread(trace, tmp_path, nested):
    column = pickled(trace)
    if nested:
        column = pa.StructArray.from_arrays([column], ["inner"])
    pq.write_table(pa.table({"path": ["a.mp3"], "genre": column}), tmp_path / "bomb.parquet")
    with pytest.raises(UserError, match="column 'genre' of the type .*may run code.*give a table of plain types"):
        read_catalog(str(tmp_path / "bomb.parquet"))
    assert not trace.exists()


def test_a_column_of_arrows_own_types_is_no_reason_to_refuse(tmp_path):
    ids = pa.array([b"0123456789abcdef"], pa.uuid())
    pq.write_table(pa.table({"path": ["a.mp3"], "song": ids}), tmp_path / "songs.parquet")
    assert len(read_catalog(str(tmp_path / "songs.parquet"))) == 1


@pytest.mark.parametrize("column", ["genre", "mel"])
def test_features_of_pickled_values_are_refused_unread(trace, tmp_path, column):
    folder = Path(write_features(tmp_path / "features", feature_rows(6), block_size=100))
    (part,) = folder.iterdir()
    table = pq.read_table(part)
    place = table.schema.get_field_index(column)
    pq.write_table(table.set_column(place, column, pickled(trace, len(table))), part)
    with pytest.raises(UserError, match=f"column '{column}' of the type .*may run code"):
        FeatureSet.open(str(folder))
    places = pa.table({"part": [str(part)], "row": [0]})
    with pytest.raises(UserError, match="may run code"):
        list(part_rows.read(places, ["track_id", "genre", "mel"]))
    assert not trace.exists()


@pytest.mark.parametrize("name", ["arrow_tensor", "arrow_tensor_v2", "arrow_variable_shaped_tensor"])
def test_a_type_described_by_a_pickle_is_refused_unread(trace, tmp_path, name):
    plain = pa.list_(pa.int64())
    kind = plain if "variable" not in name else pa.struct([("data", plain), ("shape", plain)])
    value = [1] if kind is plain else {"data": [1], "shape": [1]}
    marks = {"ARROW:extension:name": f"ray.data.{name}", "ARROW:extension:metadata": cloudpickle.dumps(Bomb(trace))}
    schema = pa.schema([pa.field("path", kind, metadata=marks)])
    (tmp_path / "features").mkdir()
    for file in (tmp_path / "bomb.parquet", tmp_path / "features" / "part-0.parquet"):
        pq.write_table(pa.table([pa.array([value], kind)], schema=schema), file)
    with pytest.raises(UserError, match="cannot be read as Parquet"):
        read_catalog(str(tmp_path / "bomb.parquet"))
    with pytest.raises(UserError, match="is not a whole Parquet file"):
        FeatureSet.open(str(tmp_path / "features"))
    assert not trace.exists()


@pytest.fixture
def stranger(tmp_path, monkeypatch):
    """A checkpoint whose model is a module that Python finds, and the trace of its being imported."""
    trace = tmp_path / "imported"
    (tmp_path / "theirs_alone.py").write_text(f"import pathlib; pathlib.Path({str(trace)!r}).touch()")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    settings = prior(["Folk", "Jazz", "Rock"])
    checkpoint.save(str(tmp_path / "run"), settings.build(), settings)
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    config["model"]["name"] = "theirs_alone"
    (tmp_path / "run" / "config.json").write_text(json.dumps(config))
    return tmp_path / "run", trace


def prior(genres: list[str]) -> Settings:
    return Settings(
        model="prior",
        model_config=models.family("prior").config(),
        features=SMALL,
        genres=genres,
        crop_frames=64,
        n_crops=1,
        training={},
        metrics={},
    )


@pytest.mark.parametrize("job", ["evaluate", "tag"])
def test_a_module_that_only_the_checkpoint_names_is_not_imported(stranger, capsys, tmp_path, job):
    run, trace = stranger
    source = write_features(tmp_path / "features", feature_rows(6))
    if job == "tag":
        sf.write(tmp_path / "a.wav", sounds.tone(22050, 3.2), 22050)
        source = str(tmp_path / "a.wav")
    assert cli.main([job, source, str(tmp_path / "out"), "--checkpoint", str(run)]) == cli.BAD_INPUT
    (line,) = capsys.readouterr().err.splitlines()
    assert "is of the model 'theirs_alone', which is none of genreray's" in line
    assert "where you trust it, give it as --model too" in line
    assert not trace.exists()


def test_a_module_that_the_user_names_is_imported(stranger):
    run, trace = stranger
    with pytest.raises(UserError, match="theirs_alone is no model"):  # what was imported has none
        checkpoint.load_settings(str(run), "theirs_alone")
    assert trace.exists()


def test_a_worker_loads_only_what_its_driver_has_looked_at(stranger):
    run, trace = stranger
    with pytest.raises(UserError, match="was changed while the job was running"):
        checkpoint.load(str(run), approved="0123456789abcdef")
    assert not trace.exists()


@pytest.mark.parametrize("name", [5, None, ["prior"], {"a": 1}, "../prior", "os", "genreray.cli", "a b", ""])
def test_any_other_name_of_a_model_is_one_clear_line(stranger, name):
    run, _ = stranger
    config = json.loads((run / "config.json").read_text())
    config["model"]["name"] = name
    (run / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match=r"config\.json") as told:
        checkpoint.load(str(run))
    assert "\n" not in str(told.value)


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_names_lead_nowhere_else(ray_session, tmp_path):
    """Through a whole extraction and the labels: every file lies in its folder, and every name comes back as it was."""
    sound, out = tmp_path / "a.wav", tmp_path / "x" / "y" / "out"
    sf.write(sound, sounds.tone(22050, 3.2), 22050)
    rows = [{"track_id": name, "uri": str(sound), "genre": name, "artist": name, "split": "training"} for name in NAMES]
    catalog = pa.Table.from_pylist(rows, schema=tables.CATALOG)
    how = {"split_method": "official", "cluster": Cluster(), "progress": Progress(Console(), "extract")}
    extract(catalog, str(out / "features"), SMALL, **how)
    assert sorted(pq.read_table(out / "features")["track_id"].to_pylist()) == sorted(NAMES)
    ranked = [{"genre": name, "probability": 0.5} for name in NAMES]
    predicted = [
        {"track_id": n, "uri": n, "status": "ok", "genre": n, "confidence": 0.5, "genres": ranked} for n in NAMES
    ]
    labels = Parts(str(out / "tags" / "predictions"), tables.with_metadata(tables.PREDICTIONS, {}))
    labels.write(pa.Table.from_pylist(predicted, schema=tables.PREDICTIONS))
    lists.write_csv(labels.files(), View(3), str(out / "tags" / "tags.csv"))
    found = files(tmp_path)
    assert {name for name in found if not name.startswith("x/y/out/")} == {"a.wav"}
    names = (r"features/part-[0-9a-f]{20}\.parquet", r"tags/predictions/part-[0-9a-f]{20}\.parquet", r"tags/tags\.csv")
    assert all(any(re.fullmatch(f"x/y/out/{name}", file) for name in names) for file in found - {"a.wav"})
    assert not Path("outside").exists()


class Elements(HTMLParser):
    """The elements of a page with the names of their attributes."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.found: set[tuple[str, ...]] = set()
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.found.add((tag, *sorted(name for name, _ in attrs)))


def test_the_report_of_hostile_names_is_text_and_nothing_else(ray_session, tmp_path):
    def page(name: str, texts: list[str]) -> str:
        rows = [feature_row(f"{text} {i}", text, "test", 99, SMALL) for text in texts for i in range(4)]
        rows = [{**row, "uri": f"/music/{row['track_id']}", "artist": row["genre"]} for row in rows]
        rows += [{**rows[0], "track_id": f"bad {texts[0]}", "status": "error", "error": texts[1], "mel": None}]
        folder = tmp_path / name
        settings = prior(sorted(texts))
        torch.manual_seed(0)
        checkpoint.save(str(folder / "run"), settings.build(), settings)
        features = write_features(folder / "features", rows)
        how = {"split": "test", "gpu": "no", "cluster": Cluster(), "progress": Progress(Console(), "evaluate")}
        evaluate(features, str(folder / "report"), str(folder / "run"), **how)
        return (folder / "report" / "report.html").read_text()

    hostile, harmless = page("hostile", MARKUP), page("harmless", [f"genre {i}" for i in range(len(MARKUP))])
    assert Elements(hostile).found == Elements(harmless).found
    assert "alert(1)" in hostile  # as text


def comparison(texts: list[str]) -> str:
    systems = [
        System(text, f"mel {text}", 10, 1, 0.5, (0.4, 0.6), None, 0.5, 1.0, None, 0.1, 0.5, 3.0) for text in texts
    ]
    return comparison_page.html(
        Comparison(
            features=texts[0],
            split=texts[1],
            split_method=texts[2],
            genres=texts,
            n=4,
            majority_genre=texts[3],
            majority_share=0.5,
            systems=systems,
            failures=[Failure(texts[0], texts[1])],
            wanted=[*texts, f"still {texts[0]}"],
        )
    )


def test_the_table_of_hostile_names_is_text_and_nothing_else():
    harmless = comparison([f"text {i}" for i in range(len(MARKUP))])
    assert Elements(comparison(MARKUP)).found == Elements(harmless).found
