"""A user's own network and batch, for the command line: found and checked.

Whatever is wrong with them ends in a ValueError whose message says what.
"""

import difflib
import importlib
import logging
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from epsutil import inputs, proxies
from epsutil.inputs import Batch
from epsutil.network_copy import cause, kept

log = logging.getLogger(__name__)

_FORM = "PACKAGE.MODULE:NAME, for example mypackage.models:build_model"


def load_module(text: str) -> nn.Module:
    """Import a network by its name, ``"package.module:name"``; the current folder is importable.

    The name is that of a ``torch.nn.Module``, of a class of them, or of a function that returns
    one; class and function are called without arguments.
    """
    return _network(*_load(text))


def tell_kept(network: nn.Module) -> None:
    """Log what no metric sets or draws, of a network that can be scored."""
    if names := kept(network):
        more = f" and {len(names) - 5} more" * (len(names) > 5)
        log.info("kept as they are, being no parameters: %s%s", ", ".join(names[:5]), more)


def load_modules(texts: Sequence[str]) -> list[nn.Module]:
    """Import networks by name, each as :func:`load_module` or a list (any iterable) of them."""
    modules: list[nn.Module] = []
    for text in texts:
        found, what = _load(text)
        one = isinstance(found, nn.Module) and not isinstance(found, nn.ModuleList)
        if one or not isinstance(found, Iterable):
            modules.append(_network(found, what))
            continue
        try:
            members = list(found)
        except Exception as error:  # a generator of the user's
            raise ValueError(f"{what} fails: {cause(error)}") from error
        modules += [_network(member, f"{what}[{i}]") for i, member in enumerate(members)]
    return modules


def _network(found: Any, what: str) -> nn.Module:
    if not isinstance(found, nn.Module):
        kind = type(found).__name__
        raise ValueError(f"{what} is of type {kind}, not a torch.nn.Module")
    return found


def _load(text: str) -> tuple[Any, str]:
    """Import a thing by name, call it where it is no module, and say what it is."""
    place, _, name = text.partition(":")
    if not all(part.isidentifier() for part in [*place.split("."), *name.split(".")]):
        raise ValueError(f"{text!r} is not of the form {_FORM}")
    if os.getcwd() not in sys.path:  # an installed command does not look there
        sys.path.insert(0, os.getcwd())
    try:
        found: Any = importlib.import_module(place)
    except (Exception, SystemExit) as error:  # whatever a user's file may raise
        raise ValueError(f"cannot import {place}: {cause(error)}") from error
    for part in name.split("."):
        if not hasattr(found, part):
            close = difflib.get_close_matches(part, dir(found))
            hint = f"; did you mean {' or '.join(close)}" if close else ""
            raise ValueError(f"{place} has no {name}{hint}")
        found = getattr(found, part)
    if isinstance(found, nn.Module) or not callable(found):
        return found, text
    try:
        return found(), f"{text}()"
    except (Exception, SystemExit) as error:
        raise ValueError(f"{text}() fails: {cause(error)}") from error


def load_batch(
    kind: str, batch_size: int | None, seed: int, image_size: int | None = None
) -> Batch:
    """Draw a batch by its kind, or read it from a file.

    Parameters
    ----------
    kind : str
        One of :data:`epsutil.inputs.KINDS`, or the path of a ``.npz`` file with ``x`` and, if
        there are any, ``labels``. Real numbers become float32, whole numbers (tokens) int64.
    batch_size, seed, image_size
        See :func:`epsutil.inputs.batch`; the default size is `epsutil.proxies.BATCH_SIZE`. Of a
        file, the whole is taken.
    """
    if kind in inputs.KINDS:
        return inputs.batch(kind, batch_size or proxies.BATCH_SIZE, seed, image_size)
    file = Path(kind)
    if file.suffix != ".npz":
        kinds = ", ".join(inputs.KINDS)
        raise ValueError(f"--batch: {kind!r} is neither a .npz file nor one of {kinds}")
    if batch_size is not None or image_size is not None:
        raise ValueError("--batch-size and --image-size do not go with a file, which is the batch")
    if not file.is_file():
        raise ValueError(f"--batch: there is no file {file}")
    try:
        with np.load(file, allow_pickle=False) as arrays:
            x, labels = arrays.get("x"), arrays.get("labels")
            names = ", ".join(arrays)
    except OSError as error:
        raise ValueError(f"--batch: cannot read {file}: {cause(error)}") from error
    except Exception as error:  # numpy, zipfile and zlib each have their own
        form = "a file of plain arrays as numpy.savez writes it"
        raise ValueError(f"--batch: {file} is not {form}") from error
    if x is None:
        raise ValueError(f"--batch: {file} has no array x, but {names or 'nothing'}")
    if x.ndim < 1 or not x.size:
        raise ValueError(f"--batch: x in {file} has the shape {x.shape}, which holds no inputs")
    x, source = _as_numbers(x, file), str(file)
    if labels is not None:
        if labels.dtype.kind not in "iu":
            raise ValueError(f"--batch: labels in {file} are {labels.dtype}, not whole numbers")
        sizes = x.shape[: 1 if x.dtype.kind == "f" else 2]  # of tokens, time may come first
        if labels.ndim < 1 or len(labels) not in sizes:
            shapes = f"labels of shape {labels.shape} for x of shape {x.shape}"
            raise ValueError(f"--batch: {file} holds {shapes}")
        labels, source = labels.astype(np.int64), f"{file} with labels"
    return Batch(x, labels, "file", seed, source)


def _as_numbers(x: NDArray, file: Path) -> NDArray:
    """Convert to what torch's networks read by default."""
    if x.dtype in (np.int32, np.int64):
        return x.astype(np.int64)
    if x.dtype.kind != "f":  # also bytes: pixels from 0 to 255 are not yet normalised
        raise ValueError(
            f"--batch: x in {file} is {x.dtype}; images must be real numbers, normalised as the "
            "network expects them, and tokens int32 or int64"
        )
    with np.errstate(over="ignore"):
        x = x.astype(np.float32)
    if not np.isfinite(x).all():
        raise ValueError(f"--batch: x in {file} holds NaN or infinite values")
    return x
