"""What people feed PyTorch with: a Dataset of one file a track, its item read, cropped and labelled one at a time."""

import contextlib
import importlib.util
import io
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

Item = tuple[Tensor, int]
_SHARDS = 8


def crop(mel: NDArray[np.uint8], crop_frames: int) -> Tensor:
    """Return a random crop, uint8 [n_mels, crop_frames], as every side here takes one."""
    start = int(torch.randint(mel.shape[1] - crop_frames + 1, ()))
    return torch.from_numpy(mel[:, start : start + crop_frames].copy())


class Files(Dataset[Item]):
    """Log-mels in files, <number>.npy or <number>.png, with their labels."""

    def __init__(self, folder: Path, labels: list[int], kind: str, crop_frames: int) -> None:
        self._paths = [folder / f"{i:06d}.{kind}" for i in range(len(labels))]
        self._labels = labels
        self._crop_frames = crop_frames

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, i: int) -> Item:
        return crop(read(self._paths[i]), self._crop_frames), self._labels[i]


def read(path: Path) -> NDArray[np.uint8]:
    """Return the log-mel in a .npy or .png file, uint8 [n_mels, n_frames]."""
    if path.suffix == ".npy":
        mel: NDArray[np.uint8] = np.load(path)
        return mel
    from PIL import Image

    with Image.open(path) as image:
        return np.asarray(image)


def write_files(folder: Path, mels: Iterator[NDArray[np.uint8]], kind: str) -> None:
    """Write log-mels as files of their own, .npy or grey .png."""
    folder.mkdir()
    for i, mel in enumerate(mels):
        path = folder / f"{i:06d}.{kind}"
        if kind == "npy":
            np.save(path, mel)
        else:
            from PIL import Image

            Image.fromarray(mel).save(path)


def loader(dataset: Dataset[Item], batch_size: int, workers: int) -> DataLoader[Item]:
    """Return torch's loader, shuffling, with workers that live as long as it."""
    # Not forked: Arrow and torch have threads here.
    context: dict[str, Any] = {"multiprocessing_context": "spawn", "persistent_workers": True} if workers else {}
    return DataLoader(dataset, batch_size, shuffle=True, num_workers=workers, **context)


def write_tars(folder: Path, mels: Iterator[NDArray[np.uint8]], labels: list[int]) -> list[str]:
    """Write the tars of webdataset, each with a .npy and a .cls of every of its tracks, and return their paths."""
    folder.mkdir()
    paths = [folder / f"{i:02d}.tar" for i in range(_SHARDS)]
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(tarfile.open(path, "w")) for path in paths]
        for i, (mel, label) in enumerate(zip(mels, labels, strict=True)):
            content = io.BytesIO()
            np.save(content, mel)
            for suffix, data in (("npy", content.getvalue()), ("cls", str(label).encode())):
                member = tarfile.TarInfo(f"{i:06d}.{suffix}")
                member.size = len(data)
                files[i % _SHARDS].addfile(member, io.BytesIO(data))
    return [str(path) for path in paths]


class Cropped:
    """Crop the first of a pair: an object, as what workers are given must be pickled."""

    def __init__(self, crop_frames: int) -> None:
        self._crop_frames = crop_frames

    def __call__(self, item: tuple[NDArray[np.uint8], int]) -> Item:
        """Return the item cropped."""
        return crop(item[0], self._crop_frames), item[1]


def tar_loader(paths: list[str], batch_size: int, workers: int, crop_frames: int) -> Any:
    """Return webdataset's loader over its tars, shuffled over 1,000 tracks."""
    import webdataset as wds

    samples = wds.WebDataset(paths, shardshuffle=len(paths)).shuffle(1000).decode().to_tuple("npy", "cls")
    batches = samples.map(Cropped(crop_frames)).batched(batch_size)
    context: dict[str, Any] = {"multiprocessing_context": "spawn", "persistent_workers": True} if workers else {}
    return wds.WebLoader(batches, batch_size=None, num_workers=workers, **context)


def missing(module: str) -> bool:
    """Say whether a library that only this comparison wants is not installed."""
    return importlib.util.find_spec(module) is None


def passes(batches: Callable[[], Any], n: int) -> int:
    """Go through a pass and return its clips; raises RuntimeError where not all `n` came."""
    seen = sum(len(labels) for _, labels in batches())
    if seen != n:
        raise RuntimeError(f"{seen} of {n} clips came: nothing is to be compared")
    return seen
