"""The metrics that epsilon competes with, each as published, behind one registry.

All of them score an untrained network with random weights. :func:`compute` draws the weights, lets
the metrics share forward and backward passes, and returns a number for each. To add a metric, write
a function of :class:`Passes` and register it with :func:`proxy`.

*Weights* are the parameters of convolutions, linear and recurrent layers with two or more
dimensions; not biases, scales of BatchNorm, embeddings and initial states. BatchNorm takes the
statistics of the batch, dropout is off.
"""

import copy
import math
from collections.abc import Callable, Collection, Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call, grad, replace_all_batch_norm_modules_, vmap
from torch.utils.flop_counter import FlopCounterMode

from epsutil import initialise, metric

Loss = Callable[[Tensor, Tensor], Tensor]

VERSION = 1  # of what metrics share: the draws of the weights, the passes
SEED = 42  # Abdelfattah et al.
BATCH_SIZE = 64


class Proxy(NamedTuple):
    """A metric, what it needs, and where its authors apply it."""

    name: str
    function: Callable[["Passes"], float]
    labels: bool  # needs the labels of the batch
    gradients: bool  # needs backward passes
    data: bool  # depends on the inputs, not only on their shape
    batch_size: int  # of its paper
    lower_is_better: bool
    version: int  # raise it when a score changes, see tests/test_recorded.py


_PROXIES: dict[str, Proxy] = {}


def proxy(
    *,
    labels: bool = False,
    gradients: bool = False,
    data: bool = True,
    batch_size: int = BATCH_SIZE,
    lower_is_better: bool = False,
    version: int = 1,
) -> Callable[[Callable[["Passes"], float]], Callable[["Passes"], float]]:
    """Register a metric under the name of its function; see :class:`Proxy`."""

    def register(function: Callable[["Passes"], float]) -> Callable[["Passes"], float]:
        name = function.__name__
        _PROXIES[name] = Proxy(
            name, function, labels, gradients, data, batch_size, lower_is_better, version
        )
        return function

    return register


def names() -> tuple[str, ...]:
    """Return the names of all metrics."""
    return tuple(_PROXIES)


def get(name: str) -> Proxy:
    """Return a metric by its name.

    Raises
    ------
    ValueError
        There is none of that name.
    """
    if name not in _PROXIES:
        raise ValueError(f"unknown metric {name!r}; the known ones are {', '.join(_PROXIES)}")
    return _PROXIES[name]


def compute(
    network: nn.Module,
    batch: tuple[Tensor | NDArray, Tensor | NDArray | None],
    names: Sequence[str],
    seed: int | None = SEED,
    loss: Loss | None = None,
    weights: tuple[float, float] = (1e-7, 1.0),
) -> dict[str, float]:
    """Score one network by several metrics.

    Parameters
    ----------
    network : torch.nn.Module
        Any module that returns a tensor of logits, (batch, classes) or (time, batch, classes).
        Left as it was: a copy is scored.
    batch : tuple of inputs and labels
        Arrays or tensors; labels of the logits' shape without the classes, or None.
    names : sequence of str
        See :func:`names`. Metrics that need the same pass share it.
    seed : int or None, default 42
        Of the weights, see :func:`epsutil.initialise.random_`. With None, the network's own weights
        are scored. The global random state is left as it was.
    loss : callable, optional
        Of logits and labels; by default the mean cross-entropy.
    weights : tuple of two floats
        The constant weights of ``"epsilon"``.

    Returns
    -------
    dict of str to float
        In the order of `names`; NaN where a metric is undefined or not finite.

    Raises
    ------
    ValueError
        An unknown name; labels that are missing or do not fit; a network that fails on the inputs
        or does not return a floating-point tensor; a metric that is undefined for such a network.

    Examples
    --------
    >>> network = nn.Sequential(nn.Flatten(), nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 3))
    >>> x, labels = torch.rand(5, 3, 2, 2), torch.tensor([0, 1, 2, 0, 1])
    >>> compute(network, (x, labels), ["params", "flops"])
    {'params': 131.0, 'flops': 120.0}
    """
    wanted = [get(name) for name in names]
    x = torch.as_tensor(batch[0])
    labels = None if batch[1] is None else torch.as_tensor(batch[1])
    for chosen in wanted:
        if chosen.labels and labels is None:
            raise ValueError(f"{chosen.name} needs labels, and the batch has none")
    network = copy.deepcopy(network)
    if seed is not None:
        initialise.random_(network, seed)
    passes = Passes(network, x, labels, loss or _cross_entropy, seed or 0, weights, names)
    values = {chosen.name: chosen.function(passes) for chosen in wanted}
    return {name: value if math.isfinite(value) else math.nan for name, value in values.items()}


def _cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    if logits.shape[:-1] != labels.shape:
        raise ValueError(
            f"labels of shape {tuple(labels.shape)} do not fit logits of shape "
            f"{tuple(logits.shape)}, which ends in the classes"
        )
    return nn.functional.cross_entropy(logits.flatten(0, -2), labels.flatten())


class Passes:
    """A network on a batch, and what passes through it gave; each pass is made at most once.

    Parameters
    ----------
    network : torch.nn.Module
        Is changed: BatchNorm takes the statistics of the batch, dropout is off.
    x, labels, loss, seed, weights
        See :func:`compute`.
    wanted : collection of str
        The metrics that will ask, so that one pass serves all of them.
    """

    def __init__(
        self,
        network: nn.Module,
        x: Tensor,
        labels: Tensor | None,
        loss: Loss,
        seed: int,
        weights: tuple[float, float],
        wanted: Collection[str],
    ) -> None:
        self.network = replace_all_batch_norm_modules_(network).eval()
        self.x, self.labels, self.loss = x, labels, loss
        self.seed, self.constants, self.wanted = seed, weights, wanted
        self.n_weights: list[int] = []  # of one channel, for the activations of `forward`

    @cached_property
    def named_weights(self) -> dict[str, nn.Parameter]:
        """Return the weights, see the module's text, by name."""
        return _named_weights(self.network)

    @cached_property
    def weights(self) -> list[nn.Parameter]:
        """Return the weights."""
        return list(self.named_weights.values())

    @cached_property
    def forward(self) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Return inputs, logits, and the outputs of convolutions and linear layers for fisher."""
        activations: list[Tensor] = []
        layers = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)

        def keep(module: nn.Module, _: tuple[Tensor, ...], output: Tensor) -> None:
            activations.append(output)
            self.n_weights.append(module.weight[0].numel())  # type: ignore[index]

        hooks = [
            module.register_forward_hook(keep)
            for module in self.network.modules()
            if {"fisher", "fisher_weighted"} & set(self.wanted) and isinstance(module, layers)
        ]
        x = self.x
        if "jacob_cov" in self.wanted and x.is_floating_point():
            x = x.detach().clone().requires_grad_()
        logits = _logits(self.network, x)
        for hook in hooks:
            hook.remove()
        return x, logits, activations

    @cached_property
    def loss_gradients(self) -> tuple[list[Tensor], list[Tensor]]:
        """Return the loss's gradients by the weights and by the activations of `forward`.

        With grasp among the wanted, they can be differentiated once more.
        """
        assert self.labels is not None
        _, logits, activations = self.forward
        try:
            loss = self.loss(logits, self.labels)
        except (IndexError, RuntimeError) as error:
            raise ValueError(
                f"the loss fails on logits of shape {tuple(logits.shape)} and labels of shape "
                f"{tuple(self.labels.shape)}, at most {self.labels.max()}: {error}"
            ) from error
        of = [*self.weights, *activations]
        gradients = torch.autograd.grad(
            loss,
            of,
            retain_graph=True,
            create_graph="grasp" in self.wanted,
            materialize_grads=True,
        )
        n_weights = len(self.weights)
        return list(gradients[:n_weights]), list(gradients[n_weights:])

    def relus(self, x: Tensor, use: Callable[[int, Tensor], None]) -> Tensor:
        """Run the network; `use` gets the number and the inputs of each ReLU that is called."""
        calls = 0

        def hook(module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
            nonlocal calls
            use(calls, arguments[0])
            calls += 1

        hooks = [
            module.register_forward_pre_hook(hook)
            for module in self.network.modules()
            if isinstance(module, nn.ReLU)
        ]
        if not hooks:
            raise ValueError(
                f"{type(self.network).__name__} has no torch.nn.ReLU, by whose activations naswot "
                "and linear_regions are defined"
            )
        try:
            return _logits(self.network, x)
        finally:
            for registered in hooks:
                registered.remove()


def _logits(network: nn.Module, x: Tensor) -> Tensor:
    """Return the outputs of a network, or say what is wrong with it."""
    name = type(network).__name__
    try:
        logits = network(x)
    except Exception as error:  # whatever a user's module may raise
        raise ValueError(
            f"{name} fails on inputs of shape {tuple(x.shape)} and type {x.dtype}: {error}"
        ) from error
    if not isinstance(logits, Tensor) or not logits.is_floating_point():
        raise ValueError(
            f"{name} must return a floating-point tensor, not {type(logits).__name__}; "
            "wrap it in a module that returns its logits"
        )
    return logits


def _named_weights(network: nn.Module) -> dict[str, nn.Parameter]:
    """Return the parameters that metrics of pruning are defined by; see the module's text."""
    embeddings = {
        id(module.weight) for module in network.modules() if isinstance(module, nn.Embedding)
    }
    found = {
        name: parameter
        for name, parameter in network.named_parameters()
        if parameter.ndim > 1 and "weight" in name and id(parameter) not in embeddings
    }
    if not found:
        raise ValueError(f"{type(network).__name__} has no weights of two or more dimensions")
    return found


# Size ----------------------------------------------------------------------------------------


@proxy(data=False)
def params(passes: Passes) -> float:
    """Count the trainable parameters."""
    return float(sum(p.numel() for p in passes.network.parameters() if p.requires_grad))


@proxy(data=False)
def flops(passes: Passes) -> float:
    """Count the multiply-accumulates of convolutions and matrix products for one input."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        _logits(passes.network, passes.x)
    return counter.get_total_flops() / 2 / len(passes.x)


# Constant weights ----------------------------------------------------------------------------


@proxy()
def epsilon(passes: Passes) -> float:
    """Return epsilon at full width (Gracheva, arXiv:2302.04406, Eqs 1-4)."""
    network = copy.deepcopy(passes.network)
    with torch.no_grad():
        _logits(network, passes.x[:2] if not _is_text(passes.x) else passes.x)  # says what is wrong
    return metric.epsilon(network, passes.x, passes.constants)


def _epsilon_of_draws(passes: Passes, scheme: str) -> float:
    network, rows = copy.deepcopy(passes.network), []
    for seed in (passes.seed, passes.seed + 1):
        initialise.random_(network, seed, scheme)
        with torch.no_grad():
            rows.append(_logits(network, passes.x).flatten().numpy())
    return metric.from_outputs(np.stack(rows))


@proxy()
def epsilon_uniform(passes: Passes) -> float:
    """Return epsilon from two draws, uniform on [0, 1], in place of constants (Table 9)."""
    return _epsilon_of_draws(passes, "uniform")


@proxy()
def epsilon_normal(passes: Passes) -> float:
    """Return epsilon from two standard normal draws in place of constants (Table 9)."""
    return _epsilon_of_draws(passes, "normal")


@proxy()
def epsilon_kaiming_uniform(passes: Passes) -> float:
    """Return epsilon from two Kaiming uniform draws in place of constants (Table 9)."""
    return _epsilon_of_draws(passes, "kaiming uniform")


@proxy()
def epsilon_kaiming_normal(passes: Passes) -> float:
    """Return epsilon from two Kaiming normal draws in place of constants (Table 9)."""
    return _epsilon_of_draws(passes, "kaiming normal")


@proxy()
def epsilon_orthogonal(passes: Passes) -> float:
    """Return epsilon from two orthogonal draws in place of constants (Table 9)."""
    return _epsilon_of_draws(passes, "orthogonal")


# Pruning at initialisation -------------------------------------------------------------------


@proxy(data=False, gradients=True)
def synflow(passes: Passes) -> float:
    r"""Return synaptic flow (Tanaka et al., arXiv:2006.05467, Eq. 2), summed over all weights.

    :math:`\sum |\theta \odot \partial R / \partial \theta|` with the parameters' absolute values, R
    the sum of the outputs for one input of ones. As Abdelfattah et al. (arXiv:2101.08134) do:
    without BatchNorm, in float64. Where the network begins with an embedding, the ones take the
    place of the embedded tokens.
    """
    network = copy.deepcopy(passes.network).double()
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.forward = nn.Identity().forward  # type: ignore[method-assign]
        elif isinstance(module, nn.Embedding):
            module.register_forward_hook(lambda *call: torch.ones_like(call[2]))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.abs_()
    x = passes.x[:, :1] if _is_text(passes.x) else passes.x[:1]  # text: time comes first
    logits = _logits(network, x if _is_text(x) else torch.ones_like(x, dtype=torch.float64))
    weights = list(_named_weights(network).values())
    gradients = torch.autograd.grad(logits.sum(), weights, materialize_grads=True)
    pairs = zip(weights, gradients, strict=True)
    return float(sum((w * g).detach().abs().sum() for w, g in pairs))


def _is_text(x: Tensor) -> bool:
    return not x.is_floating_point()


@proxy(labels=True, gradients=True)
def grad_norm(passes: Passes) -> float:
    """Return the sum over layers of the norm of the loss's gradient (Abdelfattah et al., 3.2)."""
    gradients, _ = passes.loss_gradients
    return float(sum(g.detach().norm() for g in gradients))


@proxy(labels=True, gradients=True)
def snip(passes: Passes) -> float:
    r"""Return connection sensitivity (Lee et al., arXiv:1810.02340, Eq. 4), summed.

    :math:`\sum |\theta \odot \partial L / \partial \theta|`, not normalised, as Abdelfattah et al.
    (arXiv:2101.08134, Eq. 1) use it.
    """
    gradients, _ = passes.loss_gradients
    pairs = zip(passes.weights, gradients, strict=True)
    return float(sum((w * g).detach().abs().sum() for w, g in pairs))


@proxy(labels=True, gradients=True)
def grasp(passes: Passes) -> float:
    r"""Return gradient signal preservation (Wang et al., arXiv:2002.07376, Eq. 8), summed.

    :math:`\sum -\theta \odot H \partial L / \partial \theta` with the loss's Hessian H, at
    temperature 1, as Abdelfattah et al. (arXiv:2101.08134, Eq. 1) use it.
    """
    gradients, _ = passes.loss_gradients
    product = torch.stack([(g.detach() * g).sum() for g in gradients]).sum()
    if not product.requires_grad:  # a loss that is linear in the weights
        return 0.0
    second = torch.autograd.grad(product, passes.weights, retain_graph=True, materialize_grads=True)
    pairs = zip(passes.weights, second, strict=True)
    return float(sum(-(w * h).detach().sum() for w, h in pairs))


@proxy(labels=True, gradients=True)
def fisher(passes: Passes) -> float:
    r"""Return the Fisher information of channels (Theis et al., arXiv:1801.05787, Eq. 7), summed.

    For each channel of a convolution or unit of a linear layer, before BatchNorm,
    :math:`\frac{1}{2N} \sum_n (\sum_{space} a \, \partial L / \partial a)^2`; the sum is that of
    Abdelfattah et al. (arXiv:2101.08134, Eq. 3).
    """
    return sum(information for information, _ in _fisher_of_layers(passes))


@proxy(labels=True, gradients=True)
def fisher_weighted(passes: Passes) -> float:
    """Return `fisher` with every channel counted once for each of its weights.

    So does the released code of Abdelfattah et al. when it sums what it made for pruning.
    """
    return sum(information * n_weights for information, n_weights in _fisher_of_layers(passes))


def _fisher_of_layers(passes: Passes) -> list[tuple[float, int]]:
    """Return each layer's Fisher information, and how many weights one of its channels has."""
    _, _, activations = passes.forward
    if not activations:
        raise ValueError(
            f"{type(passes.network).__name__} has no convolution or torch.nn.Linear, by whose "
            "activations fisher is defined"
        )
    _, gradients = passes.loss_gradients
    layers = []
    for a, g, n_weights in zip(activations, gradients, passes.n_weights, strict=True):
        product = (a * g).detach()
        sums = product.flatten(2).sum(2) if product.ndim > 2 else product  # batch, channels
        layers.append((float(sums.square().mean(0).sum()) / 2, n_weights))
    return layers


# How outputs and gradients vary over a batch -------------------------------------------------


@proxy(gradients=True)
def jacob_cov(passes: Passes) -> float:
    r"""Return the score of the Jacobian's correlations (Mellor et al., arXiv:2006.04647v1, Eq. 2).

    :math:`-\sum_i [\log(\sigma_i + k) + 1 / (\sigma_i + k)]` with k = 1e-5 and the eigenvalues of
    the correlations between the images' gradients of the summed outputs.
    """
    x, logits, _ = passes.forward
    if _is_text(x):
        raise ValueError("jacob_cov needs inputs of real numbers, whose gradients it compares")
    (jacobian,) = torch.autograd.grad(logits.sum(), x, retain_graph=True, materialize_grads=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        correlations = np.corrcoef(jacobian.flatten(1).double().numpy())
    if not np.isfinite(correlations).all():
        return math.nan
    values = np.linalg.eigvalsh(correlations) + 1e-5
    with np.errstate(invalid="ignore"):
        return float(-np.sum(np.log(values) + 1 / values))


@proxy(batch_size=128)
def naswot(passes: Passes) -> float:
    """Return how differently a batch activates the ReLUs (Mellor et al., arXiv:2006.04647, Eq. 2).

    The logarithm of the determinant of the kernel that counts, for two images, the ReLUs that are
    both on or both off. As in the authors' code, ReLUs that do not reach the output do not count.
    """
    few: list[Tensor] = []
    two = passes.x[:2].detach().clone()
    two.requires_grad_(two.is_floating_point())
    logits = passes.relus(two, lambda _, inputs: few.append(inputs))
    varying = [number for number, inputs in enumerate(few) if inputs.requires_grad]
    gradients = torch.autograd.grad(
        logits.sum(), [few[number] for number in varying], allow_unused=True
    )
    reaching = {n for n, gradient in zip(varying, gradients, strict=True) if gradient is not None}
    kernel = torch.zeros(len(passes.x), len(passes.x), dtype=torch.float64)

    def add(number: int, inputs: Tensor) -> None:
        if number in reaching:
            on = (inputs > 0).flatten(1).float()
            both = on @ on.T
            count = both.diagonal()
            kernel.add_(2 * both - count - count[:, None] + on.shape[1])

    with torch.no_grad():
        passes.relus(passes.x, add)
    return float(torch.linalg.slogdet(kernel).logabsdet)


@proxy(labels=True, gradients=True)
def grad_sign(passes: Passes) -> float:
    r"""Return how much the images' gradients agree in sign (Zhang and Jia, arXiv:2110.08616, 4.3).

    :math:`\sum_k |\sum_i \mathrm{sign}(\partial L_i / \partial \theta_k)|`. As in the authors'
    code, each image passes alone, so that BatchNorm takes the statistics of its pixels.
    """
    assert passes.labels is not None
    network, fixed = passes.network, dict(passes.network.named_buffers())
    others = {
        name: parameter.detach()
        for name, parameter in network.named_parameters()
        if name not in passes.named_weights
    }

    def loss(weights: dict[str, Tensor], x: Tensor, label: Tensor) -> Tensor:
        logits = functional_call(network, {**weights, **others, **fixed}, (x[None],))
        return passes.loss(logits, label[None])

    signs: dict[str, Tensor] = {}
    each = vmap(grad(loss), in_dims=(None, 0, 0))
    weights = {name: weight.detach() for name, weight in passes.named_weights.items()}
    for x, label in zip(passes.x.split(8), passes.labels.split(8), strict=True):
        for name, gradient in each(weights, x, label).items():
            signs[name] = signs.get(name, 0) + gradient.sign().sum(0)
    return float(sum(total.nan_to_num().abs().sum() for total in signs.values()))


@proxy(batch_size=256, labels=True, lower_is_better=True)
def cv(passes: Passes) -> float:
    """Return the coefficient of variation of untrained accuracy (Gracheva, arXiv:2103.08312).

    The standard deviation over the mean of the accuracy on the batch, over 100 random
    initialisations.
    """
    assert passes.labels is not None
    network, accuracies = copy.deepcopy(passes.network), []
    for seed in range(100):
        initialise.random_(network, passes.seed + seed)
        with torch.no_grad():
            hits = _logits(network, passes.x).argmax(-1) == passes.labels
        accuracies.append(float(hits.double().mean()))
    mean = float(np.mean(accuracies))
    return float(np.std(accuracies)) / mean if mean else math.nan


# te-nas --------------------------------------------------------------------------------------


@proxy(gradients=True, batch_size=72, lower_is_better=True)
def ntk(passes: Passes) -> float:
    """Return the neural tangent kernel's condition number (Chen et al., arXiv:2102.11535, 3.1.1).

    The largest over the smallest eigenvalue of the products of the images' gradients of their
    summed logits, by all weights and, as in the authors' code, scales of BatchNorm. The authors
    take a thin network of three channels with one cell a stage.
    """
    _, logits, _ = passes.forward
    weights = [p for name, p in passes.network.named_parameters() if "weight" in name]
    if not weights:
        raise ValueError(f"{type(passes.network).__name__} has no weights")
    rows = []
    for output in logits:  # images
        gradients = torch.autograd.grad(
            output.sum(), weights, retain_graph=True, materialize_grads=True
        )
        rows.append(torch.cat([gradient.flatten() for gradient in gradients]))
    jacobian = torch.stack(rows).double()
    values = torch.linalg.eigvalsh(jacobian @ jacobian.T)
    return float(values[-1] / values[0]) if values[0] > 0 else math.nan


@proxy(batch_size=3000)
def linear_regions(passes: Passes) -> float:
    """Count the linear regions that a batch falls into (Chen et al., arXiv:2102.11535, 3.1.2).

    That is, the different patterns of active ReLUs. The authors take 3,000 patches of 3 x 3 pixels
    and one channel, 1,000 at a time, and a single cell with one channel.
    """
    parts = []
    for x in passes.x.split(1000):
        patterns: list[NDArray] = []
        with torch.no_grad():
            passes.relus(x, lambda _, inputs: patterns.append((inputs > 0).flatten(1).numpy()))  # noqa: B023
        parts.append(np.packbits(np.concatenate(patterns, axis=1), axis=1))
    return float(len(np.unique(np.concatenate(parts), axis=0)))
