"""Initialisation of a network's weights, in place."""

from collections.abc import Callable

import torch
from torch import nn

SCHEMES: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {  # of convolutions, Table 9
    "uniform": nn.init.uniform_,
    "normal": nn.init.normal_,
    "kaiming uniform": nn.init.kaiming_uniform_,
    "kaiming normal": nn.init.kaiming_normal_,
    "orthogonal": nn.init.orthogonal_,
}


@torch.no_grad()
def constant_(network: nn.Module, weight: float) -> nn.Module:
    """Set every weight of a network to one constant, and every bias to zero (Section 2).

    Embedding layers keep their values: under a constant embedding all tokens look the same
    and epsilon is undefined (Section 3.4). In recurrent modules the biases are set to the
    constant, too, and so is the initial hidden state where it is a parameter, as in the authors'
    code for NAS-Bench-NLP.

    Parameters
    ----------
    network : torch.nn.Module
        Changed in place.
    weight : float
        The shared constant: convolution kernels, linear weights, BatchNorm scales.

    Returns
    -------
    torch.nn.Module
        The same network.

    Notes
    -----
    Recurrent are torch's own (``nn.RNN``, ``nn.LSTM``, ``nn.GRUCell``, ...) and modules that say so
    by an attribute ``recurrent = True``, each with all that it contains.
    """
    for module in network.modules():
        if isinstance(module, nn.Embedding):
            continue
        for name, parameter in module.named_parameters(recurse=False):
            parameter.fill_(0.0 if name.startswith("bias") else weight)
    for module in network.modules():
        if isinstance(module, nn.RNNBase | nn.RNNCellBase) or getattr(module, "recurrent", False):
            for parameter in module.parameters():
                parameter.fill_(weight)
    return network


@torch.no_grad()
def random_(network: nn.Module, seed: int, scheme: str | None = None) -> nn.Module:
    """Draw the weights of a network anew, always the same ones for the same seed.

    Parameters
    ----------
    network : torch.nn.Module
        Changed in place. Modules are drawn by their own ``reset_parameters``, a module after those
        that it contains; parameters that no such method sets keep their values.
    seed : int
        The global random state is left as it was.
    scheme : str, optional
        One of `SCHEMES`, for convolutions, with torch's default arguments. As in the authors' code
        for Table 9, BatchNorm then starts at scale 1 and shift 0, a linear layer at normal(0, 0.01)
        and bias 0.

    Returns
    -------
    torch.nn.Module
        The same network.

    Raises
    ------
    ValueError
        The scheme is none of those.
    """
    if scheme is not None and scheme not in SCHEMES:
        raise ValueError(f"unknown scheme {scheme!r}; the known ones are {', '.join(SCHEMES)}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network.apply(_reset)
        if scheme is not None:
            for module in network.modules():
                if isinstance(module, nn.modules.conv._ConvNd):
                    SCHEMES[scheme](module.weight)
                elif isinstance(module, nn.Linear):
                    nn.init.normal_(module.weight, 0, 0.01)
                    if module.bias is not None:
                        nn.init.zeros_(module.bias)
    return network


def _reset(module: nn.Module) -> None:
    reset = getattr(module, "reset_parameters", None)
    if callable(reset):
        reset()
