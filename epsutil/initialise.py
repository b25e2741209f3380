"""Initialisation of a network's weights, in place."""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize

from epsutil.names import check_known, check_seed

SCHEMES: dict[str, Callable[[Tensor], Tensor]] = {  # of convolutions, Table 9
    "uniform": nn.init.uniform_,
    "normal": nn.init.normal_,
    "kaiming uniform": nn.init.kaiming_uniform_,
    "kaiming normal": nn.init.kaiming_normal_,
    "orthogonal": nn.init.orthogonal_,
}
EMBEDDINGS = (nn.Embedding, nn.EmbeddingBag)


@contextmanager
def fixed_random(seed: int) -> Iterator[None]:
    """Draw the random numbers of a seed, and leave the states of torch, NumPy and Python alone."""
    states = random.getstate(), np.random.get_state()
    gpus = range(torch.cuda.device_count() if torch.cuda.is_initialized() else 0)
    random.seed(seed)
    np.random.seed(seed % 2**32)
    try:
        with torch.random.fork_rng(gpus):
            torch.default_generator.manual_seed(seed)  # torch.manual_seed takes milliseconds
            if gpus:
                torch.cuda.manual_seed_all(seed)
            yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])


@torch.no_grad()
def constant_(network: nn.Module, weight: float) -> nn.Module:
    """Set every weight of a network to one constant, every bias to zero (Section 2); return it.

    A bias is a parameter with "bias" in its name, a weight any other parameter; a parametrised one
    gets the constant as its value. Embedding layers keep their values, also where another layer
    shares them: under a constant embedding all tokens look the same and epsilon is undefined
    (Section 3.4). In recurrent modules the biases are set to the constant, too, and so is the
    initial hidden state where it is a parameter, as in the authors' code for NAS-Bench-NLP.

    Parameters
    ----------
    network : torch.nn.Module
        Changed in place.
    weight : float
        The shared constant: convolution kernels, linear weights, BatchNorm scales.

    Raises
    ------
    ValueError
        A parametrised weight cannot be the constant: under a spectral norm, for example.

    Notes
    -----
    Recurrent are torch's own (``nn.RNN``, ``nn.LSTM``, ``nn.GRUCell``, ...) and modules that say so
    by an attribute ``recurrent = True``, each with all that it contains.

    Examples
    --------
    >>> layer = constant_(nn.Linear(3, 1), 0.5)
    >>> layer.weight.tolist(), layer.bias.tolist()
    ([[0.5, 0.5, 0.5]], [0.0])
    """
    kept = embeddings(network)
    recurrent = {
        id(inner)
        for module in network.modules()
        if isinstance(module, nn.RNNBase | nn.RNNCellBase)
        or getattr(module, "recurrent", None) is True
        for inner in module.modules()
    }

    def constant(module: nn.Module, name: str) -> float:
        return 0.0 if "bias" in name and id(module) not in recurrent else weight

    for module in network.modules():
        if isinstance(module, parametrize.ParametrizationList):
            continue
        for name, parameter in module.named_parameters(recurse=False):
            if id(parameter) not in kept and parameter.is_floating_point():
                parameter.fill_(constant(module, name))
        with _assigned(module) as tensors:
            for name, tensor in tensors.items():
                tensor.fill_(constant(module, name))
        for name in tensors:
            made, value = getattr(module, name), constant(module, name)
            if not torch.allclose(made, torch.full_like(made, value), rtol=1e-4, atol=0):
                ways: Any = module.parametrizations
                raise ValueError(
                    f"{name} of {type(module).__name__}, as "
                    f"{', '.join(type(way).__name__.strip('_') for way in ways[name])} makes it, "
                    f"cannot be {value:g} throughout"
                )
    return network


def embeddings(network: nn.Module) -> set[int]:
    """Return the identities of the parameters that are an embedding."""
    return {
        id(layer.weight)
        for layer in network.modules()
        if isinstance(layer, EMBEDDINGS) and not parametrize.is_parametrized(layer)
    }


@torch.no_grad()
def random_(
    network: nn.Module, seed: int, scheme: str | None = None, strict: bool = True
) -> nn.Module:
    """Draw the weights of a network anew, always the same ones for the same seed; return it.

    Modules are drawn by their own ``reset_parameters``, or ``_reset_parameters``, a module after
    those that it contains; a parametrised weight as the plain one, to which the parametrisation is
    then applied. A parameter that no such method sets keeps its value if that was not drawn: if all
    its elements are equal, or if it is one number of at most three digits.

    Parameters
    ----------
    network : torch.nn.Module
        Changed in place.
    seed : int
        The global random states are left as they were.
    scheme : str, optional
        One of `SCHEMES`, for convolutions, with torch's default arguments. As in the authors' code
        for Table 9, BatchNorm then starts at 1 and 0, a linear layer at normal(0, 0.01) and 0.
    strict : bool, default True
        With False, what cannot be drawn keeps its value, and nothing is raised.

    Raises
    ------
    ValueError
        The scheme is none of those; a method fails; a parameter is set by none and was drawn.

    Examples
    --------
    >>> one, other = (random_(nn.Linear(3, 2), seed=42) for _ in range(2))
    >>> torch.equal(one.weight, other.weight)
    True
    """
    check_seed(seed)
    if scheme is not None:
        check_known("scheme", scheme, SCHEMES)
    before = {}
    for path, module in network.named_modules():
        if isinstance(module, parametrize.ParametrizationList):
            continue  # set by the module that has it
        for name, parameter in module.named_parameters(recurse=False):
            if parameter.is_floating_point():
                before[path, name] = parameter.clone()
                parameter.fill_(torch.nan)  # what is still so in the end was not drawn
    with fixed_random(seed):
        _reset(network, strict)
        if scheme is not None:
            for module in network.modules():
                with _assigned(module):
                    if isinstance(module, nn.modules.conv._ConvNd):
                        SCHEMES[scheme](module.weight)
                    elif isinstance(module, nn.Linear):
                        nn.init.normal_(module.weight, 0, 0.01)
                        if module.bias is not None:
                            nn.init.zeros_(module.bias)
    for (path, name), value in before.items():
        module = network.get_submodule(path)
        parameter = getattr(module, name)
        if not parameter.isnan().any():
            continue
        if strict and not _written(value):
            owner = type(module).__name__
            if isinstance(module, nn.ParameterList | nn.ParameterDict):
                owner, name = type(network).__name__, f"{path}.{name}"
            raise ValueError(
                f"no method reset_parameters draws {name} of {owner}, of shape "
                f"{tuple(value.shape)}: add one"
            )
        parameter.copy_(value)
    return network


def _reset(module: nn.Module, strict: bool) -> None:
    """Draw a module after those that it contains, as ``apply``, which may be the user's own."""
    for child in module.children():
        _reset(child, strict)
    for name in ("reset_parameters", "_reset_parameters"):  # the latter of attention
        reset = getattr(module, name, None)
        if callable(reset):
            try:
                with _assigned(module):
                    reset()
            except Exception as error:  # whatever a user's method may raise, or ask for
                if strict:
                    what = f"{name}() of {type(module).__name__} fails"
                    raise ValueError(f"{what}: {' '.join(str(error).split())}") from error
            return


def _written(value: Tensor) -> bool:
    """Return whether a parameter's value is one that people write, not one that is drawn."""
    first = value.flatten()[:1]
    if value.numel() == 1:
        return bool(first == torch.full_like(first, float(f"{first.item():.3g}")))
    return bool((value == first).all())


@contextmanager
def _assigned(module: nn.Module) -> Iterator[dict[str, Tensor]]:
    """Make a module's parametrised tensors writable in place, and assign them in the end."""
    if not parametrize.is_parametrized(module):
        yield {}
        return
    made: Any = module.parametrizations
    with parametrize.cached():
        tensors = {name: getattr(module, name) for name in made}
        yield tensors
    for name, tensor in tensors.items():
        if all(hasattr(way, "right_inverse") for way in made[name]):
            setattr(module, name, tensor)
        else:  # as torch does when it registers one
            made[name].original.copy_(tensor)
        for way in made[name]:
            if isinstance(way, parametrizations._SpectralNorm) and tensor.ndim > 1:
                matrix = way._reshape_weight_to_matrix(made[name].original)
                left, _, right = torch.linalg.svd(matrix, full_matrices=False)
                way._u.copy_(left[:, 0])
                way._v.copy_(right[0])
