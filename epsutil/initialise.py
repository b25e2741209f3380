"""Initialisation of a network's weights, in place."""

import torch
from torch import nn


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
