"""One track: from its URI to its columns of FEATURES, where whatever is wrong with it becomes data."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from genreray import audio, contents, features, storage
from genreray.errors import Status, TrackError, UserError
from genreray.features import FeatureConfig

Columns = dict[str, Any]  # of FEATURES, after the catalog's


def extract_tracks(uris: Sequence[str], config: FeatureConfig) -> Iterator[Columns]:
    """Yield the columns of FEATURES after the catalog's for the track at each of `uris`."""
    open_track = contents.opener(uris)
    return (extract_track(uri, config, open_track) for uri in uris)


def extract_clips(uris: Sequence[str], config: FeatureConfig, n_clips: int) -> Iterator[Columns]:
    """Yield the columns of FEATURES_OF_CLIPS after the catalog's, with at most `n_clips` clips of each track."""
    open_track = contents.opener(uris)
    return (extract_track(uri, config, open_track, n_clips) for uri in uris)


def extract_track(
    uri: str,
    config: FeatureConfig,
    open_track: Callable[[str], BinaryIO] = storage.open_track,
    n_clips: int | None = None,
) -> Columns:
    """Return the columns of FEATURES after the catalog's, for the track at `uri`; with `n_clips`, FEATURES_OF_CLIPS'.

    This is the one place where what a track raises becomes data: it ends in `status` and `error`, but for the
    UserError of a store in which no track could be read.
    """
    try:
        with open_track(uri) as file:
            if n_clips is None:
                found = _features(audio.decode(file, config.sr, config.duration), config)
            else:
                clips = audio.decode_clips(file, config.sr, config.duration, n_clips)
                found = {"clips": [{"start": clip.start, **_features(clip.y, config)} for clip in clips]}
    except TrackError as error:
        return fault_columns(error)
    except UserError:
        raise
    except OSError as error:  # of a file on disk that was opened
        return fault_columns(TrackError(Status.UNREADABLE, error.strerror or str(error)))
    except Exception as error:
        return fault_columns(TrackError(Status.ERROR, f"{type(error).__name__}: {error}"))
    return {"status": Status.OK.value, **found}


def _features(y: NDArray[np.float32], config: FeatureConfig) -> Columns:
    mel, mel_ref, mfcc = features.extract(y, config)
    return {
        "duration": len(y) / config.sr,
        "n_frames": mel.shape[1],
        "mel": np.ascontiguousarray(mel).tobytes(),
        "mel_ref": mel_ref,
        "mfcc": np.ascontiguousarray(mfcc).tobytes(),
    }


def fault_columns(fault: TrackError) -> Columns:
    """Return the columns of a track that cannot be used."""
    return {"status": fault.status.value, "error": fault.message}
