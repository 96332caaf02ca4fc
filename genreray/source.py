"""The clips at some places of FEATURES, epoch after epoch: kept in memory where they fit, else read again."""

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import torch

from genreray import arrays, imbalance, loading, part_rows, parts
from genreray.ahead import map_ahead
from genreray.checkpoint import Settings
from genreray.dataset import Clips, View
from genreray.errors import UserError

_WINDOW = 512  # rows shuffled together where the features do not fit in memory


class Source:
    """Where batches of whole clips come from."""

    def __init__(self, places: pa.Table, settings: Settings, inputs: Sequence[str], in_memory: bool) -> None:
        """Take the clips at `places` (part, row); `in_memory` reads them now and keeps them as they are stored."""
        self._places = places
        self._settings = settings
        self._inputs = inputs
        self._rooms = arrays.Rooms(min(_WINDOW, len(places)))
        self._clips: Clips | None = self._load(places) if in_memory else None

    def __len__(self) -> int:
        return len(self._places)

    def keep_on(self, device: torch.device) -> None:
        """Keep the clips that are in memory on a GPU from now on, if `device` is one and they fit there."""
        if self._clips is not None:
            self._clips = self._clips.kept_on(device)

    def batches(self, batch_size: int, generator: torch.Generator | None = None) -> Iterator[View]:
        """Yield every clip once, shuffled where a generator is given."""
        if self._clips is not None:
            yield from self._clips.batches(batch_size, generator)
            return
        places = self._places if generator is None else _shuffle_parts(self._places, generator)
        windows = (places.slice(start, _WINDOW) for start in range(0, len(places), _WINDOW))
        for clips in map_ahead(lambda window: self._load(window, self._rooms), windows, 1):
            yield from clips.batches(batch_size, generator)

    def balanced_batches(self, batch_size: int, generator: torch.Generator) -> Iterator[View]:
        """Yield as many clips as there are, every genre equally often; see `imbalance.balanced_rows`.

        Raises UserError where the clips are not in memory: each may be wanted at any time.
        """
        if self._clips is None:
            raise UserError(
                "the clips do not fit in memory, which --sampling balanced needs: give --class-weights balanced"
            )
        return imbalance.balanced_batches(self._clips, batch_size, generator)

    def n_batches(self, batch_size: int) -> int:
        """Return how many batches a pass has."""
        if self._clips is not None:
            return -(-len(self) // batch_size)
        whole, rest = divmod(len(self), _WINDOW)
        return whole * -(-_WINDOW // batch_size) + -(-rest // batch_size)

    def whole(self) -> Clips:
        """Return all clips at once."""
        return self._clips if self._clips is not None else self._load(self._places)

    def _load(self, some: pa.Table, room: loading.Room = arrays.room) -> Clips:
        settings = self._settings
        labels = ["genre"] if settings.tree is None else ["genre", "genres"]
        runs = part_rows.runs(some, ["track_id", *labels, "n_frames", *loading.columns(self._inputs)])
        return loading.load(runs, self._inputs, settings.features, settings.genres, settings.tree, room)


class SharedSource(Source):
    """A source of clips that are in memory already, for several workers or trials at once."""

    def __init__(self, clips: View) -> None:
        self._clips = self._shared = clips

    def __len__(self) -> int:
        return len(self._shared)

    def whole(self) -> Clips:
        """Return a copy of all clips at once."""
        return self._shared.select(torch.arange(len(self)))


def _shuffle_parts(places: pa.Table, generator: torch.Generator) -> pa.Table:
    """Return `places` with the parts in another order, so that other clips meet in a window every epoch."""
    part_of_row = parts.part_numbers(places)
    place_of_part = torch.randperm(int(part_of_row.max()) + 1, generator=generator).numpy()
    return places.take(np.argsort(place_of_part[part_of_row], kind="stable"))
