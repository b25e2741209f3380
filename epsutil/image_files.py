"""The images that real batches are drawn from: the same 10,240 of a dataset, from whichever file.

The recorded results rest on compact files, which have no public address. The official archives
hold the same images among others. So a short checksum of every image of a pool, in the pool's
order, is kept in ``epsutil/checksums``: it finds the images in an archive, and a seed draws the
same batch from either file.
"""

import hashlib
import tarfile
import zipfile
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from epsutil import sources

CHECKSUMS = Path(__file__).parent / "checksums"
FILES = {  # the sources that hold a pool, the compact one first
    "cifar10": ("images/cifar10-train-10240.npz", "images/cifar-10-python.tar.gz"),
    "cifar100": ("images/cifar100-train-10240.npz", "images/cifar-100-python.tar.gz"),
    "ImageNet16-120": ("images/tinyimagenet16-train-10240.npz", "images/tiny-imagenet-200.zip"),
}

# Training files inside CIFAR's archives, and the key of the labels in each. Both datasets number
# their classes in alphabetical order, as the compact files do.
_CIFAR = {
    "cifar10": ([f"cifar-10-batches-py/data_batch_{i}" for i in range(1, 6)], "labels"),
    "cifar100": (["cifar-100-python/train"], "fine_labels"),
}
_SIDE = 16  # pixels of the stand-in for ImageNet16-120, made from 64


class Pool(NamedTuple):
    """Images in the order that a seed draws from."""

    images: NDArray[np.uint8]  # [N, height, width, 3]
    labels: NDArray[np.int64]  # [N]
    n_equal: int  # how many are, to the last bit, those of the recorded results


def checksums(images: NDArray[np.uint8], labels: Iterable[int]) -> list[str]:
    """Return a short checksum of each image with its label: 16 hexadecimal digits of a SHA-256.

    The label, below 256, counts because CIFAR-100 holds the same picture under two labels.
    `images` has the shape (N, height, width, 3).
    """
    return [
        hashlib.sha256(bytes([label]) + image.tobytes()).hexdigest()[:16]
        for image, label in zip(images, labels, strict=True)
    ]


@lru_cache(maxsize=3)  # many batches come from the three datasets' files
def read(kind: str, file: Path) -> Pool:
    """Return the pool of a dataset, from the compact file or the official archive.

    Raises
    ------
    epsutil.sources.SourceError
        An archive lacks some of the images.
    """
    if file.suffix == ".npz":
        with np.load(file, allow_pickle=False) as arrays:
            images, labels = arrays["images"], arrays["labels"].astype(np.int64)
        return Pool(images, labels, len(images))
    return _from_tiny_imagenet(kind, file) if file.suffix == ".zip" else _from_cifar(kind, file)


def _listed(kind: str) -> list[list[str]]:
    """Return what is known of each image of a pool: its checksum, and for some its name."""
    return [line.split() for line in (CHECKSUMS / f"{kind}.txt").read_text("ascii").splitlines()]


def _from_cifar(kind: str, file: Path) -> Pool:
    members, key = _CIFAR[kind]
    parts, labels = [], []
    with tarfile.open(file) as archive:
        for member in members:
            stream = archive.extractfile(member)
            assert stream is not None  # a regular file, as its checksum has told
            part = sources.load_pickle(stream, sources.ARRAYS)
            parts.append(part["data"])  # [n, 3072]: all red, all green, all blue
            labels += part[key]
    images = np.concatenate(parts).reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    # Where a picture is there twice under one label, either will do.
    row_of = {checksum: row for row, checksum in enumerate(checksums(images, labels))}
    rows = np.array([row_of.get(checksum, -1) for (checksum,) in _listed(kind)])
    _check_missing(kind, file, (rows < 0).sum(), len(rows))
    return Pool(images[rows], np.array(labels, np.int64)[rows], len(rows))


def _check_missing(kind: str, file: Path, n_missing: int, n: int) -> None:
    if n_missing:
        raise sources.SourceError(
            f"{file} lacks {n_missing:,} of the {n:,} images of {kind} that the recorded results "
            "rest on; replace it by the official archive"
        )


def _from_tiny_imagenet(kind: str, file: Path) -> Pool:
    """Shrink the images of Tiny-ImageNet's archive that are in the pool.

    Neither how the compact file was rounded nor its JPEG decoder is on record, and decoders differ
    by a grey level. So three ways are tried, and the one that gives most images of the pool is
    taken; how many these are is told.
    """
    expected, names = zip(*_listed(kind), strict=True)
    classes = [name.partition("_")[0] for name in names]  # n02190166 of n02190166_400
    _, labels = np.unique(classes, return_inverse=True)
    members = [
        f"tiny-imagenet-200/train/{folder}/images/{name}.JPEG"
        for folder, name in zip(classes, names, strict=True)
    ]
    ways: tuple[list[NDArray], ...] = ([], [], [])
    with zipfile.ZipFile(file) as archive:
        there = set(archive.namelist())
        _check_missing(kind, file, sum(m not in there for m in members), len(members))
        for member in members:
            with archive.open(member) as stream, Image.open(stream) as opened:
                image = opened.convert("RGB")
            step = image.width // _SIDE
            squares = np.asarray(image).reshape(_SIDE, step, _SIDE, step, 3)
            ways[0].append(np.asarray(image.resize((_SIDE, _SIDE), Image.Resampling.BOX)))
            ways[1].append(np.asarray(image.reduce(step)))
            ways[2].append(squares.mean((1, 3)).astype(np.uint8))
    pools = []
    for images in map(np.stack, ways):
        n_equal = sum(map(str.__eq__, checksums(images, labels), expected))
        pools.append(Pool(images, labels, n_equal))
    return max(pools, key=lambda pool: pool.n_equal)
