"""What stands for fetching, decoding and computing where the way of a row from process to process is timed."""

import functools
from collections.abc import Iterator, Sequence

from genreray import track
from genreray.features import FeatureConfig
from genreray.track import Columns


def extract_tracks(uris: Sequence[str], config: FeatureConfig) -> Iterator[Columns]:
    """Yield what `track.extract_tracks` does, each file's columns as they were when it was first asked for."""
    return (_made(uri, config) for uri in uris)


@functools.cache
def _made(uri: str, config: FeatureConfig) -> Columns:
    return track.extract_track(uri, config)
