"""The metrics that epsilon competes with, each as published, behind one registry.

All of them score an untrained network with random weights. :func:`compute` draws the weights, lets
the metrics share forward and backward passes, and returns a number for each. To add a metric, write
a function of :class:`Passes` and register it with :func:`proxy`.

*Weights* are the parameters with two or more dimensions and "weight" in their name, as the kernels
of convolutions, linear and recurrent layers and the projections of attention; not embeddings, also
where a linear layer shares them, nor the parameters of torch's normalisation layers, biases and
initial states. A parametrised weight (``weight_norm``, ``spectral_norm``, ...) counts as the
weight that it gives, a frozen one like any other. :func:`epsutil.network_copy.private` tells in
which form a network is scored: BatchNorm takes the statistics of the batch, dropout is off.

*Inputs* are images or other real numbers, which lie along the first axis, or tokens: whole
numbers (time, batch). Logits then are (time, batch, classes) or (batch, classes).
"""

import functools
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from epsutil import initialise, metric, network_copy
from epsutil.names import BATCH_SIZE as BATCH_SIZE
from epsutil.names import SEED as SEED
from epsutil.names import check_known, check_seed
from epsutil.network_passes import Loss, Passes, backward, named_weights

Metric = Callable[[Passes], float]

VERSION = 1  # of what metrics share: the draws of the weights, the passes
INITIALISATIONS = 100  # of cv
SWAP_DRAWS = 32


class Proxy(NamedTuple):
    """A metric, and what there is to know of it."""

    name: str
    function: Metric
    labels: bool = False  # needs the labels of the batch
    lower_is_better: bool = False
    version: int = 1  # raise it when a score changes, see tests/test_recorded.py


_PROXIES: dict[str, Proxy] = {}


def proxy(
    *, labels: bool = False, lower_is_better: bool = False, version: int = 1
) -> Callable[[Metric], Metric]:
    """Register a metric under the name of its function; see :class:`Proxy`."""

    def register(function: Metric) -> Metric:
        name = function.__name__
        if name in _PROXIES:
            raise ValueError(f"there is a metric of the name {name!r} already")
        _PROXIES[name] = Proxy(name, function, labels, lower_is_better, version)
        return function

    return register


def names() -> tuple[str, ...]:
    """Return the names of all metrics.

    Examples
    --------
    >>> names()[:3]
    ('params', 'flops', 'epsilon')
    """
    return tuple(_PROXIES)


def get(name: str) -> Proxy:
    """Return a metric by its name, one of those of :func:`epsutil.proxies.names`.

    Examples
    --------
    >>> get("ntk").lower_is_better
    True
    """
    check_known("metric", name, _PROXIES)
    return _PROXIES[name]


def compute(
    network: nn.Module,
    batch: tuple[Tensor | NDArray, Tensor | NDArray | None],
    names: Sequence[str],
    seed: int | None = SEED,
    loss: Loss | None = None,
    weights: tuple[float, float] = (1e-7, 1.0),
) -> dict[str, float]:
    """Score one network by several metrics; those that need the same pass share it.

    Parameters
    ----------
    network : torch.nn.Module
        Any module that returns a tensor of logits, (batch, classes) or (time, batch, classes).
        Left as it was: a copy is scored, see :func:`epsutil.network_copy.private`. Buffers that are
        not running statistics, and plain tensors, are kept: see `epsutil.network_copy.kept`.
    batch : tuple of inputs and labels
        Arrays or tensors; labels are None, or a class, counted from 0, for each row of logits.
    names : sequence of str
        See :func:`names`.
    seed : int or None, default 42
        Of the weights, see :func:`epsutil.initialise.random_`. With None, the network's own weights
        are scored; but cv, swap, az-nas and epsilon by a scheme are defined by draws. ``"params"``
        and ``"flops"`` take no draw. The global random state is left as it was.
    loss : callable, optional
        Of logits and labels; by default the mean cross-entropy. With one of your own, labels may
        be anything with an entry for every input.
    weights : tuple of two floats
        The constant weights of ``"epsilon"``.

    Returns
    -------
    dict of str to float
        In the order of `names`; NaN where a metric is undefined or not finite.

    Raises
    ------
    ValueError
        An unknown name; labels that are missing or do not fit; a network that cannot be copied,
        has weights that cannot be set, or drawn where a metric needs it, fails on the inputs or
        does not return a floating-point tensor; a metric that is undefined for it, or fails.

    Examples
    --------
    >>> network = nn.Sequential(nn.Flatten(), nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 3))
    >>> x, labels = torch.rand(5, 3, 2, 2), torch.tensor([0, 1, 2, 0, 1])
    >>> compute(network, (x, labels), ["params", "flops"])
    {'params': 131.0, 'flops': 120.0}
    """
    if isinstance(names, str):
        raise ValueError(f"names is a list of metrics: [{names!r}]")
    if not isinstance(batch, tuple | list) or len(batch) != 2:
        raise ValueError("a batch is (x, labels), or (x, None) without labels")
    wanted = [get(name) for name in names]
    if seed is not None:
        check_seed(seed)
    values = {}
    with network_copy.isolated():
        x = network_copy.numbers(batch[0])
        labels = batch[1]
        if labels is not None:
            labels = torch.as_tensor(labels).detach().clone().to(x.device)
        labelled = [chosen.name for chosen in wanted if chosen.labels]
        if labelled and labels is None:
            fix = "give an array of them beside x"
            raise ValueError(f"{labelled[0]} needs labels, and the batch has none; {fix}")
        private = network_copy.private(network, x, sized={*names} <= {"params", "flops"})
        if any(parameter.is_meta for parameter in private.parameters()):
            x = x.to("meta")
        passes = Passes(private, x, labels, loss, seed, weights, names, labelled)
        for chosen in wanted:
            try:
                values[chosen.name] = chosen.function(passes)
            except Exception as error:  # whatever torch says to an unusual network
                told = network_copy.cause(error, kind=not isinstance(error, ValueError))
                what = f"{chosen.name} of {type(private).__name__}"
                raise ValueError(f"{what} fails on {network_copy.described(x)}: {told}") from error
    return {name: value if math.isfinite(value) else math.nan for name, value in values.items()}


# Size ----------------------------------------------------------------------------------------


@proxy()
def params(passes: Passes) -> float:
    """Count the trainable parameters."""
    return float(passes.trainable)


@proxy()
def flops(passes: Passes) -> float:
    """Count the multiply-accumulates of convolutions and matrix products for one input.

    Operations element by element, norms, normalisation, losses, pooling and look-up count nothing.
    One input is an image, or a sequence of tokens: the first of the batch, or, where a network
    takes no single one, the mean. An operator of one's own can be given its count by
    ``torch.utils.flop_counter.register_flop_formula``.
    """
    try:
        return _products(passes, 1)
    except ValueError:  # BatchNorm has no statistics of a single value, for example
        return _products(passes, passes.size)


def _products(passes: Passes, n: int) -> float:
    """Count the multiply-accumulates for some inputs, and divide by their number."""
    network, products = network_copy.plain(passes.given), _Products()
    with products, torch.no_grad():
        passes.call(network, passes.part(n))
    if products.unknown:
        raise ValueError(f"no count is known of {', '.join(sorted(map(str, products.unknown)))}")
    return products.flops / 2 / n


_PRODUCTS = {  # what torch has no formula for; 2 for each product
    torch.ops.aten.mv: lambda a, *_, **__: 2 * a.numel(),
    torch.ops.aten.addmv: lambda _, a, *__, **___: 2 * a.numel(),
    torch.ops.aten.dot: lambda a, *_, **__: 2 * a.numel(),
    torch.ops.aten.vdot: lambda a, *_, **__: 2 * a.numel(),
    torch.ops.aten.mkldnn_rnn_layer: lambda x, w, u, *_, **__: (
        2 * x.shape[0] * x.shape[1] * (w.numel() + u.numel())
    ),
}
_PLAIN = (  # no matrix product: what moves, selects, fills, measures, normalises or interpolates
    "cat stack copy set index_put _index_put_impl _unsafe_index_put index_add index_copy "
    "index_reduce scatter scatter_add scatter_reduce masked_scatter slice_scatter select_scatter "
    "diagonal_scatter as_strided_scatter put embedding_bag _embedding_bag "
    "_embedding_bag_forward_only _prelu_kernel rrelu_with_noise _weight_norm_interface "
    "native_layer_norm native_group_norm native_batch_norm _native_batch_norm_legit "
    "_native_batch_norm_legit_no_training _batch_norm_with_update _batch_norm_no_update "
    "_fused_rms_norm grid_sampler_2d grid_sampler_3d _grid_sampler_2d_cpu_fallback "
    "searchsorted bucketize equal isin fill masked_fill index_fill normal fractional_max_pool2d "
    "fractional_max_pool3d linalg_vector_norm linalg_cross dist _pdist_forward mse_loss "
    "smooth_l1_loss huber_loss soft_margin_loss binary_cross_entropy "
    "binary_cross_entropy_with_logits nll_loss_forward nll_loss2d_forward multi_margin_loss "
    "multilabel_margin_loss_forward"
).split()


class _Products(TorchDispatchMode):
    """Counts products, and collects the operators that may make some: of two tensors, or foreign.

    Torch's ``FlopCounterMode`` counts an operator that it does not know as 0.
    """

    def __init__(self) -> None:
        super().__init__()
        self.flops, self.unknown = 0, set[Any]()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        outputs = func(*args, **(kwargs or {}))
        packet = func.overloadpacket
        formula: Any = flop_registry.get(packet) or _PRODUCTS.get(packet)
        if formula is not None:
            self.flops += formula(*args, **(kwargs or {}), out_val=outputs)
            return outputs
        space, _, name = func._schema.name.partition("::")
        tensors = [value for value in tree_leaves((args, kwargs)) if isinstance(value, Tensor)]
        several = sum(value.is_floating_point() or value.is_complex() for value in tensors) > 1
        if space == "profiler" or space == "aten" and name.rstrip("_") in _PLAIN:
            return outputs
        harmless = func.is_view or torch.Tag.pointwise in func.tags
        algebra = name.lstrip("_").startswith(("linalg", "fft", "cholesky", "lu_", "matrix_exp"))
        if space not in ("aten", "prim", "prims") or algebra or several and not harmless:
            self.unknown.add(packet)
        return outputs


# Constant weights ----------------------------------------------------------------------------


@proxy()
def epsilon(passes: Passes) -> float:
    """Return epsilon at full width (Gracheva, arXiv:2302.04406, Eqs 1-4)."""
    network = passes.fresh(passes.given)
    if passes.draws:  # of embeddings, which keep their values
        initialise.random_(network, passes.seed, strict=False)
    return metric.epsilon(network, passes.x, passes.constants)


def _of_draws(passes: Passes, scheme: str) -> float:
    """Return epsilon from two draws of the weights in place of constants (Table 9)."""
    networks = (passes.redrawn(draw, scheme) for draw in range(2))
    return metric.from_outputs([passes.logits(n).flatten().cpu().numpy() for n in networks])


for _scheme in initialise.SCHEMES:
    _name = f"epsilon_{_scheme.replace(' ', '_')}"
    _PROXIES[_name] = Proxy(_name, functools.partial(_of_draws, scheme=_scheme))


# Pruning at initialisation -------------------------------------------------------------------


@proxy()
def synflow(passes: Passes) -> float:
    r"""Return synaptic flow (Tanaka et al., arXiv:2006.05467, Eq. 2), summed over all weights.

    :math:`\sum |\theta \odot \partial R / \partial \theta|` with the parameters' absolute values, R
    the sum of the outputs for one input of ones. As Abdelfattah et al. (arXiv:2101.08134) do:
    without BatchNorm, in float64. Ones also replace what an embedding gives.
    """
    network = nn.Module.double(passes.fresh())
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.forward = nn.Identity().forward  # type: ignore[method-assign]
        elif isinstance(module, initialise.EMBEDDINGS):
            module.register_forward_hook(lambda *call: torch.ones_like(call[2]))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.abs_()
    x = passes.part(1)
    x = torch.ones_like(x, dtype=torch.float64) if x.is_floating_point() else x
    weights = list(named_weights(network).values())
    outputs = passes.call(network, x).sum()
    return _sensitivity(weights, backward(outputs, weights))


def _sensitivity(weights: Sequence[Tensor], gradients: Sequence[Tensor]) -> float:
    pairs = zip(weights, gradients, strict=True)
    return float(sum((w * g).detach().abs().sum() for w, g in pairs))


@proxy(labels=True)
def grad_norm(passes: Passes) -> float:
    """Return the sum over layers of the norm of the loss's gradient (Abdelfattah et al., 3.2)."""
    gradients, _ = passes.loss_gradients
    return float(sum(g.detach().norm() for g in gradients))


@proxy(labels=True)
def snip(passes: Passes) -> float:
    r"""Return connection sensitivity (Lee et al., arXiv:1810.02340, Eq. 4), summed.

    :math:`\sum |\theta \odot \partial L / \partial \theta|`, not normalised, as Abdelfattah et al.
    (arXiv:2101.08134, Eq. 1) use it.
    """
    return _sensitivity(passes.weights, passes.loss_gradients[0])


@proxy(labels=True)
def grasp(passes: Passes) -> float:
    r"""Return gradient signal preservation (Wang et al., arXiv:2002.07376, Eq. 8), summed.

    :math:`\sum -\theta \odot H \partial L / \partial \theta` with the loss's Hessian H, at
    temperature 1, as Abdelfattah et al. (arXiv:2101.08134, Eq. 1) use it.
    """
    gradients, _ = passes.loss_gradients
    product = torch.stack([(g.detach() * g).sum() for g in gradients]).sum()
    if not product.requires_grad:  # a loss that is linear in the weights
        return 0.0
    pairs = zip(passes.weights, backward(product, passes.weights), strict=True)
    return float(sum(-(w * h).detach().sum() for w, h in pairs))


@proxy(labels=True)
def fisher(passes: Passes) -> float:
    r"""Return the Fisher information of channels (Theis et al., arXiv:1801.05787, Eq. 7), summed.

    For each channel of a convolution or unit of a ``torch.nn.Linear``, before BatchNorm,
    :math:`\frac{1}{2N} \sum_n (\sum_{space} a \, \partial L / \partial a)^2`, the inner sum over
    pixels or tokens; the outer sum is that of Abdelfattah et al. (arXiv:2101.08134, Eq. 3).
    Activations are taken as the layer gives them. A layer that is called twice counts twice; the
    projections inside ``MultiheadAttention`` are not called as layers.
    """
    return sum(information for information, _ in _fisher_of_layers(passes))


@proxy(labels=True)
def fisher_weighted(passes: Passes) -> float:
    """Return `fisher` with every channel counted once for each of its weights.

    So does the released code of Abdelfattah et al. when it sums what it made for pruning.
    """
    return sum(information * n_weights for information, n_weights in _fisher_of_layers(passes))


def _fisher_of_layers(passes: Passes) -> list[tuple[float, int]]:
    """Return each layer's Fisher information, and how many weights one of its channels has."""
    _, _, activations = passes.forward
    if not activations:
        what = f"{type(passes.network).__name__} has no convolution or torch.nn.Linear"
        raise ValueError(f"{what}, by whose activations fisher is defined")
    _, gradients = passes.loss_gradients
    layers = []
    for (layer, a), g in zip(activations, gradients, strict=True):
        what, product = f"the outputs of {type(layer).__name__}", (a * g).detach()
        if isinstance(layer, nn.Linear):
            product = passes.by_input(product, passes.size, what).movedim(-1, 1)
        elif len(product) != passes.size:
            raise ValueError(f"{what} of shape {tuple(a.shape)} are not of {passes.size} inputs")
        sums = product.flatten(2).sum(2) if product.ndim > 2 else product  # batch, channels
        information = float(sums.square().mean(0).sum()) / 2
        layers.append((information, layer.get_parameter("weight").numel() // sums.shape[1]))
    return layers


# How outputs and gradients vary over a batch -------------------------------------------------


@proxy()
@np.errstate(invalid="ignore", divide="ignore")
def jacob_cov(passes: Passes) -> float:
    r"""Return the score of the Jacobian's correlations (Mellor et al., arXiv:2006.04647v1, Eq. 2).

    :math:`-\sum_i [\log(\sigma_i + k) + 1 / (\sigma_i + k)]` with k = 1e-5 and the eigenvalues of
    the correlations between the images' gradients of the summed outputs.
    """
    x, logits, _ = passes.forward
    if not x.is_floating_point():
        raise ValueError("jacob_cov needs inputs of real numbers, whose gradients it compares")
    if passes.size == 1:
        raise ValueError("jacob_cov compares inputs, and the batch has only one")
    (jacobian,) = backward(logits.sum(), [x])
    correlations = np.corrcoef(jacobian.flatten(1).double().cpu().numpy())
    if not np.isfinite(correlations).all():
        return math.nan
    values = np.linalg.eigvalsh(correlations) + 1e-5
    return float(-np.sum(np.log(values) + 1 / values))


@proxy()
def naswot(passes: Passes) -> float:
    """Return how differently a batch activates the ReLUs (Mellor et al., arXiv:2006.04647, Eq. 2).

    The logarithm of the determinant of the kernel that counts, for two images, the ReLUs that are
    both on or both off. As in the authors' code (BayesWatch/nas-without-training @ b74255e,
    score_networks.py), a ReLU is any module with "ReLU" in its class's name, as ReLU6, LeakyReLU
    or a ReLUConvBN that holds one; ``torch.nn.functional.relu`` is not seen. A ReLU whose input
    does not reach the output does not count. The authors leave out one whose own output does not,
    although another branch takes the same input.
    """
    few: list[Tensor] = []

    def keep(_: int, inputs: Tensor) -> Tensor:
        few.append(inputs)
        return inputs.clone()  # what follows may change its own ones in place

    two = passes.part(min(2, passes.size)).clone()
    logits = passes.relus(two.requires_grad_(two.is_floating_point()), keep)
    varying = {number: inputs for number, inputs in enumerate(few) if inputs.requires_grad}
    gradients = torch.autograd.grad(logits.sum(), list(varying.values()), allow_unused=True)
    reaching = {n for n, gradient in zip(varying, gradients, strict=True) if gradient is not None}
    kernel = torch.zeros(passes.size, passes.size, dtype=torch.float64, device=passes.x.device)

    def add(number: int, inputs: Tensor) -> None:
        if number in reaching:
            on = passes.active(inputs, passes.size).float()
            both = on @ on.T
            count = both.diagonal()
            kernel.add_(2 * both - count - count[:, None] + on.shape[1])

    with torch.no_grad():
        passes.relus(passes.x, add)
    return float(torch.linalg.slogdet(kernel).logabsdet)


@proxy(labels=True)
def grad_sign(passes: Passes) -> float:
    r"""Return how much the images' gradients agree in sign (Zhang and Jia, arXiv:2110.08616, 4.3).

    :math:`\sum_k |\sum_i \mathrm{sign}(\partial L_i / \partial \theta_k)|`. As in the authors'
    code, each image passes alone, so that BatchNorm takes the statistics of its pixels.
    """
    signs = _signs_together(passes) or _signs_one_by_one(passes)
    return float(sum(total.nan_to_num().abs().sum() for total in signs))


def _signs_together(passes: Passes) -> list[Tensor] | None:
    """Add up the signs of eight inputs at a time, or return None: some networks cannot do that."""
    network, axes = passes.fresh(), (passes.axis, passes.axis_of_logits)
    nn.Module.requires_grad_(network, False)
    weights = {name: weight.detach() for name, weight in named_weights(network).items()}

    def loss(weights: dict[str, Tensor], x: Tensor, label: Tensor) -> Tensor:
        with network_copy.Precision(network, x):
            logits = functional_call(network, weights, (x.unsqueeze(axes[0]).clone(),))
        return passes.loss(logits, label.unsqueeze(axes[1]))

    signs: dict[str, Tensor] = {}
    each = vmap(grad(loss), in_dims=(None, *axes))
    parts = passes.x.split(8, axes[0]), passes.labels.split(8, axes[1])
    try:
        for x, label in zip(*parts, strict=True):
            for name, gradient in each(weights, x, label).items():
                signs[name] = signs.get(name, 0) + gradient.sign().sum(0)
    except Exception:  # of control flow by values, random numbers, buffers that change, ...
        return None
    return list(signs.values())


def _signs_one_by_one(passes: Passes) -> list[Tensor]:
    parts = passes.x.split(1, passes.axis), passes.labels.split(1, passes.axis_of_logits)
    signs = ([g.sign() for g in passes.gradients(*part)] for part in zip(*parts, strict=True))
    return functools.reduce(lambda total, more: list(map(torch.add, total, more)), signs)


def cv_of_guesses(n_classes: int, n_inputs: int) -> float:
    """Return cv where networks guess: they are right once in so many times.

    Examples
    --------
    >>> round(cv_of_guesses(10, 256), 4)
    0.1875
    """
    return float(np.sqrt((n_classes - 1) / n_inputs))


@proxy(labels=True, lower_is_better=True)
def cv(passes: Passes) -> float:
    """Return the coefficient of variation of untrained accuracy (Gracheva, arXiv:2103.08312).

    Of the accuracy on the batch, over 100 random initialisations.
    """
    classes = (passes.logits(passes.redrawn(i)).argmax(-1) for i in range(INITIALISATIONS))
    accuracies = [float((given == passes.labels).double().mean()) for given in classes]
    mean = float(np.mean(accuracies))
    return float(np.std(accuracies)) / mean if mean else math.nan


# te-nas --------------------------------------------------------------------------------------


@proxy(lower_is_better=True)
def ntk(passes: Passes) -> float:
    """Return the neural tangent kernel's condition number (Chen et al., arXiv:2102.11535, 3.1.1).

    The largest over the smallest eigenvalue of the products of the inputs' gradients of their
    summed logits, by all weights and, as in the authors' code, scales of BatchNorm. A row is an
    image, or a sequence of tokens, whose logits are summed over time. The authors take a thin
    network of three channels with one cell a stage. Their code (VITA-Group/TENAS @ 559bfdd,
    lib/procedures/ntk.py) gives a dead network, of 0 / 0, the score 100,000; here it has none.
    """
    _, logits, _ = passes.forward
    norms = (m for m in passes.used.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm))
    wanted = {id(weight) for weight in (*passes.weights, *(norm.weight for norm in norms))}
    weights = [parameter for parameter in passes.used.parameters() if id(parameter) in wanted]
    each = (backward(output.sum(), weights) for output in logits.unbind(passes.axis_of_logits))
    rows = [torch.cat([gradient.flatten() for gradient in gradients]) for gradients in each]
    jacobian = torch.stack(rows).double()
    values = torch.linalg.eigvalsh(jacobian @ jacobian.T)
    return float(values[-1] / values[0]) if values[0] > 0 else math.nan


@proxy()
def linear_regions(passes: Passes) -> float:
    """Count the linear regions that a batch falls into (Chen et al., arXiv:2102.11535, 3.1.2).

    That is, the different patterns of active ReLUs. The authors take 3,000 patches of 3 x 3 pixels
    and one channel, 1,000 at a time, and a single cell with one channel.
    """
    parts = (passes.patterns(passes.fresh(), x) for x in passes.x.split(1000, passes.axis))
    packed = [np.packbits(part.cpu().numpy(), axis=1) for part in parts]
    return float(len(np.unique(np.concatenate(packed), axis=0)))


# Published after epsilon, or beside it ---------------------------------------------------------


@proxy(labels=True)
def zico(passes: Passes) -> float:
    r"""Return how steady gradients are from batch to batch (Li et al., arXiv:2301.11300).

    :math:`\sum_l \log \sum_{\theta \in l} \mathrm{E}|g| / \mathrm{sd}|g|` over the layers, with the
    loss's gradients g on the two halves of the batch, as the paper has it. As in the authors' code
    (SLDGroup/ZiCo, ZeroShotProxy/compute_zico.py), weights of equal gradients and layers without a
    gradient are left out. The authors' scripts take two batches of 128 images, so a batch of 256.
    """
    return _steadiness([[half.abs() for half in halves] for halves in _gradients_of_halves(passes)])


@proxy(labels=True)
def zico_released(passes: Passes) -> float:
    """Return `zico` as the code computed it that was released first (SLDGroup/ZiCo @ bbabe28).

    Until 17 February 2023 it did not set the gradients to zero between the two batches, so that
    the second ones are sums of both, and took the standard deviation of the signed gradients.
    """
    return _steadiness([[first, first + last] for first, last in _gradients_of_halves(passes)])


@proxy(labels=True)
def zico_signed(passes: Passes) -> float:
    """Return `zico` as the code computes it since 17 February 2023 (SLDGroup/ZiCo @ d7076d5).

    It sets the gradients to zero, and still takes the deviation of the signed ones, not of |g|.
    """
    return _steadiness(_gradients_of_halves(passes))


def _gradients_of_halves(passes: Passes) -> list[tuple[Tensor, Tensor]]:
    """Return each weight's gradients of the loss on the first and the second half of the batch."""
    if passes.size == 1:
        raise ValueError("zico compares two halves of a batch, which has only one input")
    inputs = passes.x.tensor_split(2, passes.axis)
    labels = passes.labels.tensor_split(2, passes.axis_of_logits)
    return list(zip(*map(passes.gradients, inputs, labels), strict=True))


def _steadiness(layers: Sequence[Sequence[Tensor]]) -> float:
    """Sum the logarithms of the layers' inverse coefficients of variation."""
    total = 0.0
    for gradients in layers:
        values = torch.stack(list(gradients))
        deviation = values.std(0, correction=0)
        ratio = values.abs().mean(0)[deviation != 0] / deviation[deviation != 0]
        of_layer = float(ratio.double().sum())
        total += math.log(of_layer) if of_layer else 0.0
    return total


@proxy()
@np.errstate(invalid="ignore", divide="ignore")
def meco(passes: Passes) -> float:
    r"""Return how independent the channels of a map are (Jiang et al., NeurIPS 2023).

    The smallest eigenvalue of the correlations between channels, of the first image's output of
    each module, summed. As in the authors' code (HamsterMimi/MeCo @ 0d830dd,
    correlation/NAS_Bench_201.py), every module counts, also one that holds others; a correlation
    that is undefined counts as 0. Their batch is one training image. So the value depends on how
    many modules a network is written in: on NAS-Bench-201 it is 16% from that of the authors'
    modules, in nearly the same order (rho .999).
    """
    if not passes.x.is_floating_point():
        raise ValueError("meco needs inputs of real numbers, whose maps have channels")
    eigenvalues: list[float] = []

    def look(_: nn.Module, __: tuple[Tensor, ...], output: object) -> None:
        if isinstance(output, Tensor) and output.is_floating_point() and output.ndim > 2:
            maps = output[0].flatten(1).double().cpu().numpy()  # channels, pixels
            if maps.shape[1] > 1:  # of a single value no correlation is defined
                correlations = np.atleast_2d(np.corrcoef(maps))
                correlations[~np.isfinite(correlations)] = 0
                eigenvalues.append(float(np.linalg.eigvalsh(correlations)[0]))

    network = passes.fresh()
    for module in network.modules():
        module.register_forward_hook(look)
    with torch.no_grad():
        passes.call(network, passes.part(1))
    return float(sum(eigenvalues))


@proxy()
def swap(passes: Passes) -> float:
    """Count how differently neurons see a batch (Peng et al., arXiv:2403.04161).

    A neuron's pattern tells for which inputs its ReLU is active; the number of different patterns,
    on average over 32 draws of the weights from normal(0, 1). Not regularised by size. As in the
    authors' code (pym1024/SWAP @ 8d62256, correlation.py), whose batch is 16 images.
    """
    drawn = (passes.redrawn(draw, "normal") for draw in range(SWAP_DRAWS))
    return float(np.mean([_patterns(passes.patterns(network, passes.x)) for network in drawn]))


def _patterns(active: Tensor) -> int:
    """Count the different columns of a matrix of true and false."""
    return len(pd.DataFrame(np.packbits(active.cpu().numpy(), axis=0).T).drop_duplicates())


# az-nas ----------------------------------------------------------------------------------------
#
# Lee and Ham, arXiv:2403.19232, rank architectures by the sum of the logarithms of their ranks by
# four metrics: the three below and `flops`; see :func:`epsutil.statistics.rank_product`. As in
# the authors' code (cvlab-yonsei/AZ-NAS @ d41d524, NB201/ZeroShotProxy/compute_az_nas_score.py),
# the weights are Kaiming's normal ones, the inputs 64 images of noise. Where eigenvalues in float32
# turn negative, their code gives minus infinity; here they are float64, and the score is finite.


@proxy()
def expressivity(passes: Passes) -> float:
    """Return how evenly maps use their channels (Lee and Ham, arXiv:2403.19232), summed.

    The entropy of the eigenvalues, as shares of their sum, of the covariance of channels over all
    pixels, of what every block gives. A block is the outermost module that holds others, is no
    mere list of them, and gives maps, as a cell; one that holds all blocks is only their wrapper.
    What goes into the first block counts as well. Eigenvalues are float64: see above.
    """
    return float(np.sum(passes.entropies))


@proxy()
def progressivity(passes: Passes) -> float:
    """Return the least gain of `expressivity` from block to block (arXiv:2403.19232), in nats."""
    return float(np.min(np.diff(passes.entropies)))


@proxy()
def trainability(passes: Passes) -> float:
    r"""Return how well blocks hand gradients on (Lee and Ham, arXiv:2403.19232), mean.

    :math:`2 - \sigma - 1 / \sigma` of each block, with the largest singular value of the channels'
    products of random signs at its output and the gradients that they give at its input; of a
    stride, each pixel of the input is a channel. Where it does not divide the sides, which stops
    the authors' code, rows and columns at the end are cut off or filled with 0. NaN where a block
    is the identity, as the authors' code ranks it last.
    """
    signs, scores = torch.Generator().manual_seed(passes.seed), []
    for before, after in reversed(list(itertools.pairwise(passes.blocks))):
        sign = torch.randint(0, 2, after.shape, generator=signs).to(after) * 2 - 1
        (gradient,) = backward(after, [before], grad_outputs=sign)
        if torch.equal(gradient, sign):
            return math.nan
        given, taken = (g.movedim(1, 0).flatten(1) for g in (_folded(gradient, sign), sign))
        sigma = float(torch.linalg.matrix_norm(given @ taken.T / taken.shape[1], 2))
        scores.append(2 - sigma - 1 / (sigma + 1e-6))
    return float(np.mean(scores))


def _folded(gradient: Tensor, like: Tensor) -> Tensor:
    """Lay maps out on the fewer pixels of others, as more channels."""
    (high, wide), sides = like.shape[2:], gradient.shape[2:]
    if high > sides[0] or wide > sides[1]:
        what = f"a block makes larger maps, {tuple(sides)} to {(high, wide)}"
        raise ValueError(f"{what}, and trainability is defined for blocks that keep or shrink them")
    by, across = round(sides[0] / high), round(sides[1] / wide)  # the strides
    rest = (0, across * wide - sides[1], 0, by * high - sides[0])  # below 0: cut off
    parts = nn.functional.pad(gradient, rest).unflatten(3, (wide, across)).unflatten(2, (high, by))
    return parts.movedim((3, 5), (2, 3)).flatten(1, 3)
