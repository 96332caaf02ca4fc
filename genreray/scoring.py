"""What a checkpoint says of clips: their probabilities, the same bits whichever clips are scored together."""

from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from genreray import dataset, loop
from genreray.checkpoint import Checkpoint

# Clips scored at a time. On CPUs the maps of few stay in the cache, and in memory that is not asked of the system anew:
# mel_cnn takes 7 ms for a clip, in batches of 32 clips 11 ms.
_BATCHES = {"cpu": 4, "cuda": 32}


def score(
    clips: pa.Table, trained: Checkpoint, device: torch.device, embedding: bool = False
) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
    """Return each clip's probabilities, [n, n_genres], the means over its crops, and its embedding, [n, size], or None.

    `clips` are rows with FEATURES' columns.
    """
    settings = trained.settings
    hierarchy = settings.hierarchy()
    how: dict[str, Any] = {
        "crop_frames": settings.crop_frames,
        "n_crops": settings.n_crops,
        "device": device,
        "temperature": settings.temperature,
        "hierarchy": None if hierarchy is None else hierarchy.to(device),
    }
    found = [np.empty((0, len(settings.genres)), np.float32)]
    embeddings = [np.empty((0, trained.model.embedding_size), np.float32)] if embedding else []
    size = _BATCHES[device.type]
    for i in range(0, len(clips), size):
        n, some = _filled(clips.slice(i, size), size)
        batch = dataset.from_table(some, trained.model.inputs, settings.features, settings.genres)
        if embedding:
            probabilities, embedded = loop.predict_and_embed(trained.model, batch, **how)
            embeddings.append(embedded.cpu().numpy()[:n])
        else:
            probabilities = loop.predict(trained.model, batch, **how)
        found.append(probabilities.cpu().numpy()[:n])
    return np.concatenate(found), np.concatenate(embeddings) if embedding else None


def _filled(clips: pa.Table, size: int) -> tuple[int, pa.Table]:
    """Return how many clips there are, and `size` of them, the last one as often as it takes.

    Libraries sum in another order for fewer: what is said of a track would depend on those that are done with it.
    """
    n = len(clips)
    return n, clips if n == size else clips.take(np.minimum(np.arange(size), n - 1))
