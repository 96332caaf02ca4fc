"""A search's trials as TensorBoard's event files: a run for each, with its settings and its curves."""

import json
import struct
import time
from collections.abc import Mapping
from typing import Any

from genreray import storage
from genreray.dimensions import Point
from genreray.selection import METRICS
from genreray.trials import Trial

FOLDER = "tensorboard"
FILE_NAME = "events.out.tfevents.genreray"  # TensorBoard looks for names with tfevents in them
_VERSION = "brain.Event:2"

# tensorboardX is imported where it is used: its import changes the environment of the process.


class TensorBoard:
    """Hears of a search, and writes the events of each of its trials below `run_uri`, anew with every epoch.

    Not by tensorboardX's SummaryWriter, which writes to disk alone, or with a client of its own to S3.
    """

    def __init__(self, run_uri: str) -> None:
        self._run_uri = run_uri
        self._events: dict[str, list[bytes]] = {}
        self._epochs: dict[str, set[int]] = {}

    def begin(self, trial: Trial) -> None:
        """Begin the trial's events with its settings; one that goes on tells its epochs again."""
        from tensorboardX.summary import hparams

        about = hparams(_plain(trial.config), dict.fromkeys(METRICS, 0.0))[:2]
        self._events[trial.trial_id] = [_record(file_version=_VERSION), *(_record(summary=part) for part in about)]
        self._epochs[trial.trial_id] = set()
        self._write(trial.trial_id)

    def epoch(self, trial_id: str, epoch: Mapping[str, Any]) -> None:
        """Add the numbers of an epoch, each once."""
        from tensorboardX.summary import scalar

        number = int(epoch["epoch"])
        if number in self._epochs[trial_id]:
            return
        self._epochs[trial_id].add(number)
        values = {name: value for name, value in epoch.items() if name != "epoch"}
        self._events[trial_id] += [_record(summary=scalar(*value), step=number) for value in values.items()]
        self._write(trial_id)

    def end(self, trial: Trial) -> None:
        """Say that the trial has ended."""
        from tensorboardX.summary import hparams

        if trial.trial_id in self._events:
            self._events[trial.trial_id].append(_record(summary=hparams({}, {})[2]))
            self._write(trial.trial_id)

    def _write(self, trial_id: str) -> None:
        where = storage.join(self._run_uri, FOLDER, trial_id, FILE_NAME)
        storage.write_bytes(where, b"".join(self._events[trial_id]))


def _plain(point: Point) -> dict[str, Any]:
    """Return a point in the types that settings have there: numbers, texts, and true or false."""
    return {
        name: value if isinstance(value, str | bool | int | float) else json.dumps(value)
        for name, value in point.items()
    }


def _record(**fields: Any) -> bytes:
    """Return an event as TensorFlow frames records: length, its checksum, the event, its checksum."""
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.record_writer import masked_crc32c

    data: bytes = Event(wall_time=time.time(), **fields).SerializeToString()
    length = struct.pack("<Q", len(data))
    return b"".join([length, struct.pack("<I", masked_crc32c(length)), data, struct.pack("<I", masked_crc32c(data))])
