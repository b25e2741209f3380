"""The epsilon metric (Section 2, Eqs 1-4) on plain outputs, and for any torch module.

Gracheva, *Neural Architecture Search via Two Constant Shared Weights Initialisations*,
arXiv:2302.04406v2.
"""

import logging
import math
import re
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from epsutil import initialise, network_copy

log = logging.getLogger(__name__)

VERSION = 1  # raise it when a score changes, see tests/test_recorded.py
_SAME = "equal for all inputs"


def normalise(outputs: ArrayLike) -> NDArray[np.floating]:
    """Min-max normalise each row of an output matrix to [0, 1] (Equation 1).

    As in the authors' code, entries equal to 0 after the normalisation are then dropped.

    Parameters
    ----------
    outputs : array_like, shape (n_weights, L_v)
        Flattened outputs, one row per initialisation. The dtype is kept.

    Returns
    -------
    ndarray, shape (n_weights, L_v)
        Values in (0, 1], NaN where dropped. A row that is constant, or holds a value that is
        not finite, is NaN throughout.

    Examples
    --------
    Of the first row, the lowest value is dropped. The second is constant, and has no normal form:

    >>> normalise([[1.0, 2.0, 5.0], [3.0, 3.0, 3.0]])
    array([[ nan, 0.25, 1.  ],
           [ nan,  nan,  nan]])
    """
    rows = np.atleast_2d(np.asarray(outputs))
    if not np.issubdtype(rows.dtype, np.floating):
        rows = rows.astype(np.float64)
    lowest = rows.min(axis=1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        normalised = (rows - lowest) / (rows.max(axis=1, keepdims=True) - lowest)
    normalised[~np.isfinite(rows).all(axis=1)] = np.nan
    normalised[normalised == 0] = np.nan
    return normalised


def from_outputs(outputs: ArrayLike) -> float:
    r"""Return epsilon from the outputs under two initialisations (Eqs 1-4).

    .. math::

        \delta = \frac{1}{L_v} \sum_j |V'_{1,j} - V'_{2,j}|

        \mu = \frac{1}{2 L_v} \sum_{i,j} V'_{i,j}

        \varepsilon = \delta / \mu

    where dropped entries (see :func:`normalise`) are left out of both means.

    Parameters
    ----------
    outputs : array_like, shape (2, L_v)
        One row per initialisation; L_v is the batch size times the length of one output.

    Returns
    -------
    float
        At least 0, and NaN where epsilon is undefined: a row is constant (hence also L_v = 1),
        or not finite.

    Raises
    ------
    ValueError
        The matrix does not have two rows.

    Examples
    --------
    >>> round(from_outputs([[0.0, 1.0, 2.0, 4.0], [0.0, 1.0, 8.0, 9.0]]), 4)
    0.2815
    """
    rows = np.asarray(outputs)
    if rows.ndim != 2 or len(rows) != 2:
        raise ValueError(
            f"epsilon compares two rows of outputs, not an array of shape {rows.shape}"
        )
    normalised = normalise(rows)
    difference = np.abs(normalised[0] - normalised[1])
    delta, kept = (values[~np.isnan(values)] for values in (difference, normalised))
    return float(delta.mean() / kept.mean()) if len(delta) else math.nan


def lenient(outputs: ArrayLike) -> NDArray[np.float64]:
    """Return epsilon of every two rows, passing over outputs that are NaN as the authors' code.

    Where all outputs are finite it is what :func:`from_outputs` returns, up to rounding.

    Parameters
    ----------
    outputs : array_like of floats, shape (n_weights, L_v)
        One row per initialisation.

    Returns
    -------
    ndarray, shape (n_weights * (n_weights - 1) / 2,)
        In the order of :func:`itertools.combinations`; NaN where nothing is left to compare.

    Examples
    --------
    >>> rows = np.array([[0.0, 1.0, 2.0, 4.0, np.nan], [0.0, 1.0, 8.0, 9.0, 9.5]])
    >>> lenient(rows).round(3), from_outputs(rows)
    (array([0.271]), nan)
    """
    rows = np.asarray(outputs)
    with np.errstate(all="ignore"), warnings.catch_warnings(action="ignore"):  # rows of NaN alone
        lowest = np.nanmin(rows, axis=1, keepdims=True)
        rows = (rows - lowest) / (np.nanmax(rows, axis=1, keepdims=True) - lowest)
        rows[rows == 0] = np.nan
        means, counts = np.nanmean(rows, axis=1), (~np.isnan(rows)).sum(axis=1)
        pairs = [[i, j] for i, j in combinations(range(len(rows)), 2)]
        deltas = [np.nanmean(np.abs(rows[i] - rows[j])) for i, j in pairs]
        kept = [means[two] @ counts[two] / counts[two].sum() for two in pairs]
        return np.array(deltas) / kept


def epsilon(network: nn.Module, x: torch.Tensor, weights: Sequence[float] = (1e-7, 1.0)) -> float:
    """Score an untrained network by its outputs under two constant shared weights (Algorithm 1).

    The slow reference: the network is evaluated at full width. It is left as it was: a copy is
    evaluated, see :func:`epsutil.network_copy.private`. Embeddings keep their values, see
    :func:`epsutil.initialise.constant_`; so do buffers that are not running statistics, and plain
    tensors, which `epsutil.network_copy.kept` names.

    Parameters
    ----------
    network : torch.nn.Module
        Any module; Section 2 asks for one output per image, more are flattened.
    x : torch.Tensor, shape (batch, ...)
        A batch of inputs, without labels.
    weights : sequence of two floats, default (1e-7, 1.0)
        The paper's choice for NAS-Bench-201 (Table 8).

    Returns
    -------
    float
        See :func:`from_outputs`; NaN where undefined: :func:`explain` says why. It is **undefined**
        for networks whose signals all pass a LayerNorm or the like, as before a transformer's head:
        over equal channels that is 0.

    Raises
    ------
    ValueError
        There are not two finite weights, or the network cannot be copied, has a weight that cannot
        be set, fails on the inputs or does not return a floating-point tensor.

    Examples
    --------
    Four grey images, from black to light grey, and a network that saturates:

    >>> from epsutil import inputs
    >>> x = torch.from_numpy(inputs.batch("grey", batch_size=4, image_size=2).x)
    >>> network = nn.Sequential(nn.Flatten(), nn.Linear(12, 8), nn.Sigmoid(), nn.Linear(8, 1))
    >>> round(epsilon(network, x, weights=(0.1, 1.0)), 3)
    0.347

    Without the sigmoid the outputs under the two weights are proportional. Normalised they are
    equal, and epsilon is 0 up to rounding:

    >>> linear = nn.Sequential(nn.Flatten(), nn.Linear(12, 1))
    >>> round(epsilon(linear, x, weights=(0.1, 1.0)), 3)
    0.0
    """
    if len(weights) != 2:
        raise ValueError(f"epsilon takes two weights, not {len(weights)}: {tuple(weights)}")
    return from_outputs(outputs(network, x, weights))


def explain(
    network: nn.Module, x: torch.Tensor, weights: Sequence[float] = (1e-7, 1.0)
) -> pd.DataFrame:
    """Tell why a network has no epsilon: what its modules return under the two weights.

    Parameters
    ----------
    network, x, weights
        As for :func:`epsilon`, which tells what is raised.

    Returns
    -------
    pandas.DataFrame
        A row for every call of a module, in the order in which they return, so that a module
        follows those in it and the network, whose name is "", all: ``module`` and ``kind``, its
        name and class; ``low_1`` to ``high_2``, the range of its output under each weight, of
        several tensors the first; ``state``, where that is 0 throughout, infinite, NaN, or equal
        for all inputs. ``attrs["reason"]`` is why there is no score and what may help: a line that
        names the first such module and the one that no signal passes; "" where there is a score.

    Examples
    --------
    >>> network = nn.Sequential(nn.Linear(2, 4), nn.LayerNorm(4), nn.Linear(4, 1))
    >>> explain(network, torch.tensor([[0.0, 1.0], [2.0, 3.0]])).attrs["reason"].partition(":")[0]
    'under 1e-07, 1 (LayerNorm) is the first that is 0'
    """
    rows: dict[Any, dict[str, Any]] = {}  # by module and number of call
    states: list[dict[Any, str]] = []  # the same, under each weight
    x = network_copy.numbers(x)

    def watch(constant: nn.Module) -> None:
        states.append({})
        calls: Counter[str] = Counter()
        for name, module in constant.named_modules():
            if "parametrizations" not in name.split("."):
                module.register_forward_hook(partial(record, name, calls))

    def record(name: str, calls: Counter[str], module: nn.Module, _: Any, output: Any) -> None:
        leaves = [leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor)]
        for values in [leaf for leaf in leaves if leaf.is_floating_point() and leaf.numel()][:1]:
            calls[name] += 1
            call, which = (name, calls[name]), len(states)
            row = rows.setdefault(call, {"module": name, "kind": type(module).__name__})
            row |= {f"low_{which}": float(values.min()), f"high_{which}": float(values.max())}
            states[-1][call] = _state(values, x)

    found = _outputs(network, x, weights, watch)
    told, reason = [f"under {weight:g}" for weight in weights], ""
    if math.isnan(from_outputs(found)):
        lost = [i for i, row in enumerate(normalise(found)) if np.isnan(row).all()]
        reasons = [f"{told[i]}, {_reason(rows, states[i])}" for i in lost]
        reasons += ["of the outputs, each weight's lowest are dropped, and no other is left"]
        reason = max(reasons[: len(lost) or 1], key=lambda text: "whatever" in text)
        if _state(x, x) in ("0", _SAME):
            reason = "all inputs are equal: give different ones"
    for call, row in rows.items():
        seen = [f"{s[call]} {w}" for s, w in zip(states, told, strict=True) if s.get(call)]
        row["state"] = "; ".join(seen)
    columns = ["module", "kind", "low_1", "high_1", "low_2", "high_2", "state"]
    table = pd.DataFrame([*rows.values()], columns=columns)
    table.attrs["reason"] = reason
    return table


def _state(values: Tensor, x: Tensor) -> str:
    """Say what leaves no signal in the output of a module; "" where there is one."""
    if not values.isfinite().all():
        return "NaN" if values.isnan().any() else "infinite"
    if not values.any():
        return "0"
    sizes = x.shape[: 1 if x.is_floating_point() else 2]  # of tokens, time comes first
    axes = [axis for axis, size in enumerate(values.shape[:2]) if size in sizes][: len(sizes)]
    same = [bool((values == values.narrow(axis, 0, 1)).all()) for axis in axes]
    return _SAME if all(same or [bool(values.min() == values.max())]) else ""


def _reason(rows: Mapping[Any, Mapping[str, str]], states: Mapping[Any, str]) -> str:
    """Say which module leaves no signal under a weight, and what may help."""
    lost: list[Any] = []  # since the last module with a signal
    for call, state in states.items():
        lost = [*lost, call] if state else []
    if not lost:
        return "the outputs' range is beyond the largest number: give other weights"
    first = next(call for call, state in states.items() if state)
    ends = [rows[first], rows[lost[0]]]
    named = [f"{row['module'] or 'the network'} ({row['kind']})" for row in ends]
    reason, state = f"{named[0]} is the first that is {states[first]}", states[lost[0]]
    if first != lost[0]:
        reason += f", and no signal passes {named[1]}, which is {state}"
    if re.match("(?!Batch).*Norm", ends[1]["kind"]) and state in ("0", _SAME):
        return f"{reason}: over equal channels it is so whatever the weights; epsilon is undefined"
    wider = "" if state == _SAME else "; the collapsed search spaces have an extended range"
    return f"{reason}: give other weights{wider}"


def outputs(network: nn.Module, x: torch.Tensor, weights: Sequence[float]) -> NDArray[np.floating]:
    """Evaluate a network under constant shared weights, each time from the same state.

    BatchNorm uses the statistics of the batch; everything else is in evaluation mode, so that
    dropout is off.

    Parameters
    ----------
    network, x
        As for :func:`epsilon`, which tells what is raised.
    weights : sequence of float
        Any number.

    Returns
    -------
    ndarray, shape (len(weights), L_v)

    Examples
    --------
    Each of three pixels has the weight 0.5, then 1:

    >>> outputs(nn.Linear(3, 1), torch.tensor([[1.0, 1.0, 1.0], [0.0, 2.0, 4.0]]), [0.5, 1.0])
    array([[1.5, 3. ],
           [3. , 6. ]], dtype=float32)
    """
    return _outputs(network, x, weights)


def _outputs(
    network: nn.Module,
    x: torch.Tensor,
    weights: Sequence[float],
    watch: Callable[[nn.Module], object] = id,
) -> NDArray[np.floating]:
    for weight in weights:
        try:
            finite = math.isfinite(weight)
        except TypeError:
            finite = False
        if not finite:
            raise ValueError(f"weights are finite numbers, not {weight!r}")
    rows = []
    with network_copy.isolated():
        x = network_copy.numbers(x)
        if len(x) == 1:
            log.warning("a batch of one input: the outputs do not vary and epsilon is undefined")
        copied = network_copy.private(network, x)
        for weight in weights:
            constant = initialise.constant_(network_copy.duplicate(copied), float(weight))
            watch(constant)
            rows.append(network_copy.call(constant, x, check=True).flatten().cpu().numpy())
    return np.stack(rows)
