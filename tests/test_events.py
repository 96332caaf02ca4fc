"""What a search tells TensorBoard and MLflow."""

import contextlib
import dataclasses
import sqlite3
import struct
import sys
import time

import pytest
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.record_writer import RecordWriter

from genreray import storage
from genreray.errors import UserError
from genreray.events import FILE_NAME, FOLDER, TensorBoard
from genreray.mlflow_runs import MLflow
from genreray.trials import Trial, TrialStatus

TRIAL = Trial(
    trial_id="0001",
    model="mel_cnn",
    config={"learning_rate": 1e-3, "filters": (4, 8), "averaging": "none"},
    status=TrialStatus.INTERRUPTED,
)
EPOCHS = [{"epoch": n, "calibrated_loss": 1.0 / n, "validation_accuracy": 0.1 * n, "seconds": 2.0} for n in (1, 2, 3)]
ENDED = dataclasses.replace(TRIAL, status=TrialStatus.FAILED, history=EPOCHS, error="out of memory")


def tell(follower) -> None:
    """A trial whose process is lost after two epochs, and goes on: it tells them again."""
    follower.begin(TRIAL)
    for epoch in EPOCHS[:2]:
        follower.epoch("0001", epoch)
    follower.begin(TRIAL)
    for epoch in EPOCHS:
        follower.epoch("0001", epoch)
    follower.end(ENDED)


def events(content: bytes) -> list[Event]:
    found = []
    while content:
        (length,) = struct.unpack_from("<Q", content)
        found.append(Event.FromString(content[12 : 12 + length]))
        content = content[16 + length :]
    return found


def test_tensorboard_gets_each_epoch_once(place, tmp_path):
    tell(TensorBoard(place))
    with storage.open_file(storage.join(place, FOLDER, "0001", FILE_NAME)) as file:
        content = file.read()
    found = events(content)
    assert found[0].file_version == "brain.Event:2"
    values = [(event.step, value) for event in found for value in event.summary.value]
    scalars = [(step, v.tag, v.simple_value) for step, v in values if not v.metadata.plugin_data.content]
    assert scalars == [
        (epoch["epoch"], name, pytest.approx(epoch[name]))
        for epoch in EPOCHS
        for name in ("calibrated_loss", "validation_accuracy", "seconds")
    ]
    settings = b"".join(value.metadata.plugin_data.content for _, value in values)
    assert all(word in settings for word in (b"learning_rate", b"filters", b"[4, 8]", b"averaging"))
    # Framed as tensorboardX does it, checksums and all.
    writer = RecordWriter(str(tmp_path / "events"))
    for event in found:
        writer.write(event.SerializeToString())
    writer.close()
    assert (tmp_path / "events").read_bytes() == content


def test_mlflow_that_is_not_installed_is_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow.tracking", None)
    with pytest.raises(UserError, match=r"pip install 'genreray\[mlflow\]'"):
        MLflow("sqlite:///nowhere.db", "genreray mel_cnn", "/run", print)


def test_an_mlflow_with_a_password_in_its_url_is_refused_without_showing_it():
    with pytest.raises(UserError, match="^--mlflow holds a password, .*set MLFLOW_TRACKING_USERNAME") as caught:
        MLflow("https://me:pass-word@host", "genreray mel_cnn", "/run", print)
    assert "pass-word" not in str(caught.value)


class Store:
    """An MLflow database, a search that tells it, and what it holds then."""

    def __init__(self, folder):
        self.file = folder / "mlflow.db"
        self.client = pytest.importorskip("mlflow.tracking").MlflowClient(tracking_uri=f"sqlite:///{self.file}")
        self.said = []

    def follower(self, search="/run"):
        return MLflow(f"sqlite:///{self.file}", "genreray mel_cnn", search, self.said.append)

    def runs(self):
        experiment = self.client.get_experiment_by_name("genreray mel_cnn")
        return self.client.search_runs([experiment.experiment_id])

    def losses(self, run):
        found = self.client.get_metric_history(run.info.run_id, "calibrated_loss")
        return sorted((point.step, point.value) for point in found)


LOSSES = [(epoch["epoch"], epoch["calibrated_loss"]) for epoch in EPOCHS]


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path)


def test_mlflow_gets_a_run_for_each_trial(store):
    tell(store.follower())
    (run,) = store.runs()
    assert run.info.status == "FAILED"
    assert (run.data.tags["trial_status"], run.data.tags["error"]) == ("failed", "out of memory")
    assert run.data.params["filters"] == "(4, 8)"
    assert store.losses(run) == LOSSES
    assert store.said == []


def test_a_search_that_goes_on_goes_on_with_its_runs_of_mlflow(store):
    first = store.follower()
    first.begin(TRIAL)
    for epoch in EPOCHS[:2]:
        first.epoch("0001", epoch)
    store.follower("/another").begin(TRIAL)
    tell(store.follower())
    runs = {run.data.tags["genreray.search"]: run for run in store.runs()}
    assert len(runs) == len(store.runs()) == 2
    assert store.losses(runs["/run"]) == LOSSES
    assert (runs["/run"].info.status, runs["/another"].info.status) == ("FAILED", "RUNNING")


def test_a_search_goes_on_where_mlflow_is_lost(store):
    follower = store.follower()
    follower.begin(TRIAL)
    with contextlib.closing(sqlite3.connect(store.file)) as database:
        database.execute("DROP TABLE metrics")
    for epoch in EPOCHS:
        follower.epoch("0001", epoch)
    follower.end(ENDED)
    follower.begin(dataclasses.replace(TRIAL, trial_id="0002"))
    (line,) = store.said
    assert line.startswith(f"MLflow can no longer write to sqlite:///{store.file}, the search goes on without: ")


def test_an_mlflow_that_cannot_be_written_to_is_one_line():
    pytest.importorskip("mlflow.tracking")
    started = time.monotonic()
    with pytest.raises(UserError, match="MLflow cannot write to http://127.0.0.1:9: "):
        MLflow("http://127.0.0.1:9", "genreray mel_cnn", "/run", print)
    assert time.monotonic() - started < 30  # MLflow itself tries for minutes
