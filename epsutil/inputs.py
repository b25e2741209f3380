"""A batch of inputs: real images, normalised, the synthetic ones of Section 3.5, or tokens.

Tokens are what NAS-Bench-NLP reads, images what the other search spaces read; see :func:`kinds`.
"""

import hashlib
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from epsutil import image_files, sources, spaces
from epsutil.names import check_known, check_seed
from epsutil.spaces.nasbench_nlp import WORDS


class _Kind(NamedTuple):
    """What the reader is told of a kind of inputs; how the benchmark normalises real images."""

    title: str
    image_size: int = 32
    classes: int = 10
    mean: tuple[float, ...] = ()  # of red, green, blue, on the scale 0..255
    std: tuple[float, ...] = ()


_STAND_IN = "Tiny-ImageNet at 16x16 as a stand-in for ImageNet16-120"
_REAL = {
    "cifar10": _Kind("CIFAR-10", 32, 10, (125.3, 123.0, 113.9), (63.0, 62.1, 66.7)),
    "cifar100": _Kind("CIFAR-100", 32, 100, (129.3, 124.1, 112.4), (68.2, 65.4, 70.4)),
    "ImageNet16-120": _Kind(_STAND_IN, 16, 200, (122.68, 116.66, 104.01), (63.22, 61.26, 65.09)),
}
_SYNTHETIC = {
    "grey": _Kind("grey images, image i of n is the constant i/n"),
    "normal": _Kind("random images, normal(0, 1)"),
    "uniform": _Kind("random images, uniform(-1, 1)"),
    "uniform_positive": _Kind("random images, uniform(0, 1)"),
}
_TOKENS = {
    "ptb": _Kind("Penn Treebank, the training text from its first word", classes=WORDS),
    "random_tokens": _Kind("synthetic: random tokens, uniform over the vocabulary", classes=WORDS),
}
_KINDS = _REAL | _SYNTHETIC | _TOKENS
IMAGES = (*_REAL, *_SYNTHETIC)
TOKENS = tuple(_TOKENS)
KINDS = tuple(_KINDS)

_PTB = ("ptb/ptb.train.txt", "ptb/ptb.valid.txt", "ptb/ptb.test.txt")
STEPS = 70  # tokens in a column, NAS-Bench-NLP's length of backpropagation through time


@dataclass(frozen=True, eq=False)
class Batch:
    """Images or tokens for one evaluation, with what a page must say about them.

    Attributes
    ----------
    x : ndarray
        Images: float32, (batch_size, 3, image_size, image_size). Tokens: int64, (70, batch_size).
    labels : ndarray of int64, or None
        The classes of real images, or for tokens, in the shape of `x`, the words that follow.
    kind : str
        One of `KINDS`.
    seed : int
    source : str
        For the reader; names a stand-in as such.

    Examples
    --------
    >>> grey = batch("grey", batch_size=4)
    >>> grey.x.shape, grey.labels, grey.size
    ((4, 3, 32, 32), None, 4)
    >>> grey.source
    'synthetic: grey images, image i of n is the constant i/n'
    >>> grey.checksum[:12]
    'eba49e27f6ff'
    """

    x: NDArray
    labels: NDArray[np.int64] | None
    kind: str
    seed: int
    source: str

    @property
    def size(self) -> int:
        """How many images, or columns of text."""
        return self.x.shape[1 if self.kind in TOKENS else 0]

    @cached_property
    def checksum(self) -> str:
        """SHA-256 over shape, dtype and bytes of `x`, in hexadecimal."""
        digest = hashlib.sha256(f"{self.x.shape} {self.x.dtype.str} ".encode())
        digest.update(np.ascontiguousarray(self.x).data)
        return digest.hexdigest()


def batch(kind: str, batch_size: int = 256, seed: int = 21, image_size: int | None = None) -> Batch:
    """Draw a batch, always the same one for the same arguments.

    Real images are drawn without replacement from a pool, which does not depend on the file
    (`epsutil.image_files`), divided by 255 and normalised per channel as in the benchmark.
    Synthetic images stay as they are. Text is cut into `batch_size` columns, whose first 70 tokens
    are taken.

    Parameters
    ----------
    kind : {"cifar10", "cifar100", "ImageNet16-120", "grey", "normal", "uniform", \
"uniform_positive", "ptb", "random_tokens"}
    batch_size : int
    seed : int
        Without effect on ``"grey"`` and ``"ptb"``.
    image_size : int, optional
        Pixels along a side: of synthetic images any, by default 32; real ones have their own.

    Raises
    ------
    ValueError
        An argument is out of range; the message names it.
    epsutil.sources.SourceError
        The images are not to be had.

    Examples
    --------
    >>> batch("grey", batch_size=4, image_size=1).x[:, 0, 0, 0]
    array([0.  , 0.25, 0.5 , 0.75], dtype=float32)
    """
    size = _kind(kind).image_size
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}; it must be at least 1")
    check_seed(seed)
    if kind in TOKENS:
        if image_size is not None:
            raise ValueError(f"image_size is {image_size}; {kind} holds tokens, not images")
        return _tokens(kind, batch_size, seed)
    if kind in _SYNTHETIC:
        return _synthetic(kind, batch_size, seed, size if image_size is None else image_size)
    if image_size not in (None, size):
        raise ValueError(f"image_size is {image_size}; {kind} images have {size} pixels a side")
    return _real(kind, batch_size, seed)


def patches(kind: str, batch_size: int, seed: int, image_size: int = 3) -> Batch:
    """Draw one random square of one random colour from each image: [batch_size, 1, size, size].

    As te-nas does to count linear regions (:func:`epsutil.proxies.linear_regions`).
    """
    whole = batch(kind, batch_size, seed)
    rng = np.random.default_rng(seed)
    colour = rng.integers(whole.x.shape[1], size=batch_size)
    top, left = rng.integers(whole.x.shape[2] - image_size + 1, size=(2, batch_size))
    squares = np.lib.stride_tricks.sliding_window_view(whole.x, (image_size, image_size), (2, 3))
    x = squares[np.arange(batch_size), colour, top, left][:, None]
    return Batch(x, None, kind, seed, f"{whole.source}, squares of {image_size} x {image_size}")


def image_size(kind: str) -> int:
    """Return how many pixels an image has along a side, unless another size is asked for."""
    return _kind(kind).image_size


def classes(kind: str) -> int:
    """Return how many classes the labels of a kind tell apart, by default ten."""
    return _kind(kind).classes


def kinds(space: str | spaces.Space) -> tuple[str, ...]:
    """Return the kinds of inputs that a search space reads, the usual one first.

    Examples
    --------
    >>> kinds("nasbench_nlp")
    ('ptb', 'random_tokens')
    """
    return {"images": IMAGES, "tokens": TOKENS}[spaces.get(space).reads]


def needs(kind: str) -> tuple[str, ...]:
    """Return the names of the sources that :func:`batch` reads for a kind, if any.

    Of the files with the same images, this is the one at hand, else the one to download.
    """
    _kind(kind)
    if kind not in _REAL:
        return _PTB if kind == "ptb" else ()
    files = image_files.FILES[kind]
    return (next((name for name in files if sources.available(name)), files[-1]),)


def _kind(kind: str) -> _Kind:
    check_known("kind of inputs", kind, KINDS)
    return _KINDS[kind]


def _real(kind: str, batch_size: int, seed: int) -> Batch:
    real = _REAL[kind]
    (name,) = needs(kind)
    images, labels, n_equal = image_files.read(kind, sources.path(name))
    if batch_size > len(images):
        raise ValueError(
            f"batch_size is {batch_size}; batches of {kind} are drawn from only {len(images)} "
            "images, whichever file they come from"
        )
    chosen = np.random.default_rng(seed).choice(len(images), batch_size, replace=False)
    mean, std = np.array([real.mean, real.std], dtype=np.float32) / 255
    x = (images[chosen].astype(np.float32) / 255 - mean) / std
    x = np.ascontiguousarray(x.transpose(0, 3, 1, 2))  # channels first, as torch has them
    source = f"{real.title}: {batch_size:,} of {len(images):,} training images in {name}"
    if n_equal < len(images):
        source += f" (only {n_equal:,} as in the recorded results)"
    return Batch(x, labels[chosen], kind, seed, source)


def _synthetic(kind: str, batch_size: int, seed: int, image_size: int) -> Batch:
    if image_size < 1:
        raise ValueError(f"image_size is {image_size}; it must be at least 1")
    shape, random = (batch_size, 3, image_size, image_size), np.random.default_rng(seed)
    if kind == "grey":
        x = np.broadcast_to((np.arange(batch_size) / batch_size)[:, None, None, None], shape)
    elif kind == "normal":
        x = random.normal(size=shape)
    else:
        x = random.uniform(-1 if kind == "uniform" else 0, 1, shape)
    x = x.astype(np.float32, order="C")
    return Batch(x, None, kind, seed, f"synthetic: {_SYNTHETIC[kind].title}")


def _tokens(kind: str, batch_size: int, seed: int) -> Batch:
    if kind == "ptb":
        text = _ptb()
        if (STEPS + 1) * batch_size > len(text):
            raise ValueError(
                f"batch_size is {batch_size}; the text has {len(text):,} tokens, enough for "
                f"{len(text) // (STEPS + 1):,} columns of {STEPS}, each with one that follows"
            )
        length = len(text) // batch_size
        columns = text[: length * batch_size].reshape(batch_size, length).T[: STEPS + 1]
    else:
        columns = np.random.default_rng(seed).integers(0, WORDS, (STEPS, batch_size))
        following = np.random.default_rng([seed, 1]).integers(0, WORDS, (1, batch_size))
        columns = np.concatenate([columns, following])
    source = f"{_TOKENS[kind].title}: {STEPS} tokens in each of {batch_size:,} columns"
    x, labels = (np.ascontiguousarray(part) for part in (columns[:-1], columns[1:]))
    return Batch(x, labels, kind, seed, source)


@lru_cache(maxsize=1)
def _ptb() -> NDArray[np.int64]:
    """Return the training text, its words numbered as in the benchmark: by first appearance.

    The vocabulary goes on through the validation and the test text; every line ends in ``<eos>``.
    """
    files = [sources.path(name).read_text(encoding="utf-8").splitlines() for name in _PTB]
    texts = [" <eos> ".join([*lines, ""]).split() for lines in files]
    numbers, words = pd.factorize(np.array(sum(texts, []), dtype=object))
    if len(words) != WORDS:
        raise sources.SourceError(f"{', '.join(_PTB)} hold {len(words):,} words, not {WORDS:,}")
    return numbers[: len(texts[0])]
