"""Initialisation of a network's weights, in place."""

import torch
from torch import nn


@torch.no_grad()
def constant_(network: nn.Module, weight: float) -> nn.Module:
    """Set every weight of a network to one constant, and every bias to zero (Section 2).

    Embedding layers keep their values: under a constant embedding all tokens look the same
    and epsilon is undefined (Section 3.4).

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
    """
    for module in network.modules():
        if isinstance(module, nn.Embedding):
            continue
        for name, parameter in module.named_parameters(recurse=False):
            parameter.fill_(0.0 if name.startswith("bias") else weight)
    return network
