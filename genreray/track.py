"""One track: from its URI to its columns of FEATURES, where whatever is wrong with it becomes data."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, BinaryIO

import numpy as np

from genreray import audio, contents, features, storage
from genreray.errors import Status, TrackError, UserError
from genreray.features import FeatureConfig

Columns = dict[str, Any]  # of FEATURES, after the catalog's


def extract_tracks(uris: Sequence[str], config: FeatureConfig) -> Iterator[Columns]:
    """Yield the columns of FEATURES after the catalog's for the track at each of `uris`."""
    open_track = contents.opener(uris)
    return (extract_track(uri, config, open_track) for uri in uris)


def extract_track(
    uri: str, config: FeatureConfig, open_track: Callable[[str], BinaryIO] = storage.open_track
) -> Columns:
    """Return the columns of FEATURES after the catalog's, for the track at `uri`.

    This is the one place where what a track raises becomes data: it ends in `status` and `error`, but for the
    UserError of a store in which no track could be read.
    """
    try:
        with open_track(uri) as file:
            y = audio.decode(file, config.sr, config.duration)
        mel, mel_ref, mfcc = features.extract(y, config)
    except TrackError as error:
        return fault_columns(error)
    except UserError:
        raise
    except OSError as error:  # of a file on disk that was opened
        return fault_columns(TrackError(Status.UNREADABLE, error.strerror or str(error)))
    except Exception as error:
        return fault_columns(TrackError(Status.ERROR, f"{type(error).__name__}: {error}"))
    return {
        "status": Status.OK.value,
        "duration": len(y) / config.sr,
        "n_frames": mel.shape[1],
        "mel": np.ascontiguousarray(mel).tobytes(),
        "mel_ref": mel_ref,
        "mfcc": np.ascontiguousarray(mfcc).tobytes(),
    }


def fault_columns(fault: TrackError) -> Columns:
    """Return the columns of a track that cannot be used."""
    return {"status": fault.status.value, "error": fault.message}
