"""What extract and tag do with a track, stage by stage, in the functions that they call: no Ray."""

import contextlib
import io
import pickle
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from unittest import mock

import pyarrow as pa
import pyarrow.parquet as pq
import soundfile as sf
import torch

from benchmarks import baselines, ready
from benchmarks.laps import ALL, Laps, Place
from benchmarks.watch import cpu_seconds
from genreray import (
    audio,
    dataset,
    extract,
    features,
    fft,
    isolation,
    loading,
    loop,
    predict,
    predictions,
    storage,
    tables,
    track,
)
from genreray.audio import libsndfile
from genreray.checkpoint import Checkpoint
from genreray.errors import Status
from genreray.features import FeatureConfig
from genreray.featureset import table_settings
from genreray.machine_code import compiled
from genreray.parts import Parts
from genreray.tag import stamp_block

FETCH, DECODE, MONO, RESAMPLE = "fetch, from the page cache", "decode", "to mono, checks", "resample"
STFT, BANDS = "STFT", "mel sums"
GREY, MFCC, COLUMNS = "dB and grey", "MFCC", "columns of the row"
HAND, ARROW, PARQUET = "from the decoding process to the worker", "Arrow table", "Parquet, written"
TRACK = (FETCH, DECODE, MONO, RESAMPLE, STFT, BANDS, GREY, MFCC, COLUMNS)
TENSORS, CROPS, FORWARD = "stored bytes to tensors", "crops", "network, forward"
PROBABILITIES, ROWS, LABELS = "probabilities", "rows of PREDICTIONS", "their Parquet, written"
ANSWER = (TENSORS, CROPS, FORWARD, PROBABILITIES, ROWS, LABELS)
STAMP = "stamp of the file"

Seconds = dict[str, float]  # by stage, of one track


class Files:
    """Tracks on disk, each stage of which is timed."""

    def __init__(self, folder: Path, n: int, output: Path, config: FeatureConfig) -> None:
        """Take the first `n` of the files in `folder`; parts go below `output`."""
        self.paths = sorted(map(str, folder.iterdir()))[:n]
        self._config = config
        self._output = output
        rows = [{"track_id": Path(path).stem, "uri": path} for path in self.paths]
        self._catalog = pa.Table.from_pylist(rows, schema=tables.CATALOG)
        schema = tables.with_metadata(tables.FEATURES, table_settings(config, "none"))
        self._features = Parts(str(output / "features"), schema)
        # In the decoding process, which starts, imports and compiles with that; its rows are ready from then on.
        self.block = extract.extract_block(self._catalog, config, extract_tracks=ready.extract_tracks)
        _check(self.block.column("status").to_pylist())

    def decoding_alone(self) -> Seconds:
        """Return what merely decoding takes, by soundfile, of bytes that are in memory."""
        contents = [Path(path).read_bytes() for path in self.paths]
        laps = Laps([ALL])
        laps.start()
        for content in contents:
            baselines.decode(content)
        laps.lap(ALL)
        return laps.per(len(contents))

    def track_stages(self) -> Seconds:
        """Return what each stage of `track.extract_tracks` takes, which the decoding process runs."""
        laps = Laps(TRACK)
        sums = features._sum_bands
        loops = {sums: laps.around(compiled(sums), STFT, BANDS)}
        places = (
            Place(storage, "open_track", COLUMNS, FETCH),
            Place(libsndfile, "to_mono", DECODE, MONO),
            Place(audio, "_resample", MONO, RESAMPLE),
            Place(features, "extract", DECODE, MFCC),  # closing the decoder comes before it
            Place(fft, "power_spectra", STFT, STFT),
            Place(features, "dct_basis", GREY, MFCC),
        )
        with mock.patch.object(features, "compiled", loops.__getitem__), laps.at(*places):
            made = list(track.extract_tracks(self.paths, self._config))
            laps.lap(COLUMNS)
        _check([columns["status"] for columns in made])
        return laps.per(len(made))

    def part_stages(self) -> Seconds:
        """Return what each stage after that takes: the decoding process's share too, which has its rows ready."""
        laps = Laps((HAND, ARROW, PARQUET))
        with self._handing(laps, Place(pq.ParquetWriter, "write_table", ARROW, PARQUET)):
            extract.extract_part(self._catalog, self._features, self._config, extract_tracks=ready.extract_tracks)
            laps.lap(PARQUET)
        return laps.per(len(self._catalog))

    def table_stages(self) -> Seconds:
        """Return what they take where the block stays in memory as one table, as in tag."""
        laps = Laps((HAND, ARROW))
        with self._handing(laps):
            extract.extract_block(self._catalog, self._config, extract_tracks=ready.extract_tracks)
            laps.lap(ARROW)
        return laps.per(len(self._catalog))

    def extracted(self) -> Seconds:
        """Return what extracting and writing a block takes, of both processes, with no clock read in between."""
        return {ALL: self._both(lambda: extract.extract_part(self._catalog, self._features, self._config))}

    @contextlib.contextmanager
    def _handing(self, laps: Laps, *places: Place) -> Iterator[None]:
        """Read the clock where rows come from the decoding process; its own time is added to theirs."""
        before = cpu_seconds(_decoder())
        with laps.at(Place(isolation._Process, "receive", ARROW, HAND), *places):
            yield
        laps.seconds[HAND] += cpu_seconds(_decoder()) - before

    def answer_stages(self, trained: Checkpoint) -> Seconds:
        """Return what each stage of `tag` takes that `extract` does not have."""
        laps = Laps((STAMP, *ANSWER))
        laps.start()
        stamp_block(self._catalog)
        laps.lap(STAMP)
        rows = self._stamped()
        places = (
            Place(loading, "from_table", TENSORS, TENSORS),
            Place(dataset, "crop", CROPS, CROPS),
            Place(loop, "probabilities", FORWARD, PROBABILITIES),
            Place(predictions, "of_one_genre", PROBABILITIES, ROWS),
        )
        hook = trained.model.register_forward_hook(lambda *_: laps.lap(FORWARD))
        with hook, laps.at(*places):
            found = _predict(rows, trained)
            laps.lap(ROWS)
            self._labels(found, trained).write(found)
            laps.lap(LABELS)
        return laps.per(len(rows))

    def tagged(self, trained: Checkpoint) -> Seconds:
        """Return what a block of `tag` takes, of both processes, with no clock read in between."""

        def work() -> None:
            stamped = stamp_block(self._catalog)
            found = _predict(extract.extract_block(stamped, self._config), trained)
            self._labels(found, trained).write(found)

        return {ALL: self._both(work)}

    def sizes(self) -> dict[str, float]:
        """Return the bytes a track that come out of each stage, the mean over the files."""
        config, n = self._config, len(self.paths)
        about = [sf.info(io.BytesIO(Path(path).read_bytes())) for path in self.paths]
        samples = [min(one.frames, round(config.duration * one.samplerate)) for one in about]
        frames = sum(self.block.column("n_frames").to_pylist()) / n
        rows = self.block.select(["status", "duration", "n_frames", "mel", "mel_ref", "mfcc"]).to_pylist()
        (part,) = self._features.files()
        return {
            FETCH: sum(Path(path).stat().st_size for path in self.paths) / n,
            DECODE: sum(4 * k * one.channels for k, one in zip(samples, about, strict=True)) / n,
            MONO: sum(4 * k for k in samples) / n,
            RESAMPLE: sum(self.block.column("duration").to_pylist()) * config.sr * 4 / n,
            STFT: frames * (1 + config.n_fft // 2) * 4,
            BANDS: frames * config.n_mels * 4,
            GREY: frames * config.n_mels,
            MFCC: frames * config.n_mfcc * 2,
            COLUMNS: frames * (config.n_mels + config.n_mfcc * 2),
            HAND: sum(len(pickle.dumps(row)) for row in rows) / n,
            ARROW: self.block.nbytes / n,
            PARQUET: Path(part).stat().st_size / n,
        }

    def _stamped(self) -> pa.Table:
        stamps = stamp_block(self._catalog)
        block = self.block
        for field in tables.FILE_STAMP:
            block = block.append_column(field, stamps.column(field.name))
        return block

    def _labels(self, found: pa.Table, trained: Checkpoint) -> Parts:
        schema = tables.with_metadata(found.schema, {"table": "predictions"})
        return Parts(str(self._output / trained.settings.model), schema)

    def _both(self, work: Callable[[], None]) -> float:
        """Return the CPU time a track of this process and of the one that decodes."""
        started, decoder = time.process_time(), _decoder()
        before = cpu_seconds(decoder)
        work()
        if _decoder() != decoder:
            raise RuntimeError("the decoding process was replaced: its time is not known")
        return (time.process_time() - started + cpu_seconds(decoder) - before) / len(self.paths)


def _predict(rows: pa.Table, trained: Checkpoint) -> pa.Table:
    n = len(trained.settings.genres)
    found = predict.predict_rows(rows, trained, top_k=n, device=torch.device("cpu"))
    _check(found.column("status").to_pylist())
    return found


def _check(statuses: Sequence[str]) -> None:
    if set(statuses) != {Status.OK.value}:
        raise RuntimeError("a track did not come out well: nothing is to be timed")


def _decoder() -> int:
    """Return the id of the process that decodes, which waits for its next block."""
    return isolation._idle[-1]._process.pid
