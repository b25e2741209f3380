"""A network on a batch, and what passes through it gave, for the metrics that share it.

What weights and inputs are, see :mod:`epsutil.proxies`.
"""

import itertools
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from epsutil import initialise, network_copy

Loss = Callable[[Tensor, Tensor], Tensor]
Watch = Callable[[int, Tensor], Tensor | None]
_NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


def _cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    return nn.functional.cross_entropy(logits.flatten(0, -2), labels.flatten())


class Passes:
    """A network on a batch, and what passes through it gave; each pass is made at most once.

    Every pass starts from the same state of the network's buffers and of the random numbers. The
    arguments are those of :func:`epsutil.proxies.compute`, with the network as
    :func:`epsutil.network_copy.private` returns it; `wanted` are the metrics that will ask, so that
    one pass serves all, `labelled` those of them that need labels.

    Attributes
    ----------
    given : torch.nn.Module
        With its own weights. Only copies are called, of the others, too.
    labels : torch.Tensor
        Checked; not there where no metric asks for them.
    axis, axis_of_logits : int
        Along which the inputs lie, in the batch and in logits and labels.
    """

    def __init__(
        self,
        network: nn.Module,
        x: Tensor,
        labels: Tensor | None,
        loss: Loss | None,
        seed: int | None,
        weights: tuple[float, float],
        wanted: Sequence[str],
        labelled: Sequence[str],
    ) -> None:
        self.x, self.loss, self.seed = x, loss or _cross_entropy, seed or 0
        self.given, self.draws = network, seed is not None
        self.constants, self.wanted = weights, wanted
        self.trainable = sum(p.numel() for p in network.parameters() if p.requires_grad)
        for parameter in network.parameters():
            parameter.requires_grad_(parameter.is_floating_point())
        self.axis = 0 if x.is_floating_point() or x.ndim == 1 else 1  # of tokens, time is first
        self.size = x.shape[self.axis]
        self.axis_of_logits, self.shape = self._probe()
        if labels is not None and labelled:
            who, shape = f"{labelled[0]} of {type(network).__name__}", tuple(labels.shape)
            what = f"{who}: labels of shape {shape}"
            self.labels = self._checked(labels, what, own=loss is not None and "cv" not in labelled)

    def _probe(self) -> tuple[int, tuple[int, ...]]:
        """Return along which axis of the logits the inputs lie, and the shape of all logits."""
        name, many = type(self.given).__name__, min(3, self.size)

        def shape(n: int) -> torch.Size:
            return network_copy.call(self.fresh(self.given), self.part(n), check=True).shape

        if many == 1:
            only = shape(1)
            return (self.axis if len(only) > 2 else 0), tuple(only)
        try:
            shapes = [shape(n) for n in (many - 1, many)]
        except ValueError:
            shape(self.size)  # says the same of the whole batch, if it fails
            raise
        for axis in {0, self.axis}:
            few, more = map(list, shapes)
            if len(few) > axis and (few.pop(axis), more.pop(axis)) == (many - 1, many):
                if few == more:
                    return axis, (*more[:axis], self.size, *more[axis:])
        raise ValueError(
            f"{name} returns tensors of shape {tuple(shapes[0])} and {tuple(shapes[1])} for "
            f"{many - 1} and {many} inputs along axis {self.axis}, not a row for each; "
            "inputs come first in a batch of real numbers, time comes first in one of tokens"
        )

    def _checked(self, labels: Tensor, what: str, own: bool) -> Tensor:
        """Refuse labels that are no class for every logit; a loss of one's own may need others."""
        if own:
            if labels.shape[self.axis_of_logits : self.axis_of_logits + 1] != (self.size,):
                raise ValueError(f"{what} are not one for each of {self.size} inputs")
            return labels
        outputs = f"outputs of shape {self.shape}"
        if labels.shape != self.shape[:-1]:
            fix = "which ends in the classes: one class for every row"
            raise ValueError(f"{what} do not fit {outputs}, {fix}")
        if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
            raise ValueError(f"{what} are {labels.dtype}, not whole numbers")
        low, high, classes = int(labels.min()), int(labels.max()), self.shape[-1]
        if low < 0 or high >= classes:
            there = f"{outputs} have {classes} classes, 0 to {classes - 1}"
            raise ValueError(f"{what} go from {low} to {high}, but {there}")
        return labels.long()

    @cached_property
    def drawn(self) -> nn.Module:
        """Return the network with the weights of `seed`."""
        if not self.draws:
            return self.given
        try:
            return initialise.random_(self.fresh(self.given), self.seed)
        except ValueError as error:
            fix = "score the weights as they are (seed=None; epsutil score --seed none)"
            raise ValueError(f"{error}, or {fix}") from error

    @cached_property
    def network(self) -> nn.Module:
        """Return `drawn` with parametrised weights as plain ones."""
        return network_copy.plain(self.drawn)

    @cached_property
    def used(self) -> nn.Module:
        """Return the copy that `forward` calls."""
        return self.fresh()

    def fresh(self, network: nn.Module | None = None) -> nn.Module:
        """Return a copy of the network, or of another one, that may be changed and called."""
        return network_copy.duplicate(network or self.network)

    def part(self, n: int) -> Tensor:
        """Return the first inputs of the batch."""
        return self.x.narrow(self.axis, 0, n)

    def call(self, network: nn.Module, x: Tensor) -> Tensor:
        """Return the logits of a network, see :func:`epsutil.network_copy.call`."""
        logits = network_copy.call(network, x, self.seed)
        if torch.is_grad_enabled() and not logits.requires_grad:
            what = f"{type(network).__name__} returns outputs without gradients"
            raise ValueError(f"{what}: does it compute under torch.no_grad, or detach?")
        return logits

    @torch.no_grad()
    def logits(self, network: nn.Module) -> Tensor:
        """Return the logits of a network for the batch, without gradients."""
        return self.call(network, self.x)

    def redrawn(self, draw: int, scheme: str | None = None) -> nn.Module:
        """Return a copy with the weights of a later seed, see `epsutil.initialise.random_`."""
        seed = (self.seed + draw) % 2**32
        return initialise.random_(self.fresh(self.given), seed, scheme)

    def by_input(self, tensor: Tensor, n: int, what: str) -> Tensor:
        """Return a tensor inside the network with the axis of n inputs first."""
        axes = [a for a in {0, self.axis} if tensor.ndim > a + (a > 0) and tensor.shape[a] == n]
        if len(axes) != 1:
            expected = "axis 0 or axis 1" if self.axis else "axis 0"
            raise ValueError(
                f"{what} of shape {tuple(tensor.shape)} do not tell where the {n} inputs lie; "
                f"expected {expected} alone"
            )
        return tensor.movedim(axes[0], 0)

    def active(self, inputs: Tensor, n: int) -> Tensor:
        """Return which inputs of a ReLU are above 0, a row for each of n inputs of the network."""
        return (self.by_input(inputs, n, "the inputs of a ReLU") > 0).flatten(1)

    @torch.no_grad()
    def patterns(self, network: nn.Module, x: Tensor) -> Tensor:
        """Return which inputs of all ReLUs are above 0, a row for each input of the network."""
        found: list[Tensor] = []
        watch_relus(
            network, lambda _, inputs: found.append(self.active(inputs, x.shape[self.axis]))
        )
        self.call(network, x)
        return torch.cat(found, dim=1)

    def gradients(self, x: Tensor, labels: Tensor) -> tuple[Tensor, ...]:
        """Return the loss's gradients by the weights for some inputs, in a pass of their own."""
        network = self.fresh()
        loss = self.loss(self.call(network, x), labels)
        return backward(loss, named_weights(network).values(), retain_graph=False)

    @cached_property
    def weights(self) -> list[nn.Parameter]:
        """Return the weights, see :mod:`epsutil.proxies`."""
        return list(named_weights(self.used).values())

    @cached_property
    def forward(self) -> tuple[Tensor, Tensor, list[tuple[nn.Module, Tensor]]]:
        """Return inputs, logits, and what convolutions and linear layers gave, for fisher."""
        activations: list[tuple[nn.Module, Tensor]] = []

        def keep(module: nn.Module, _: tuple[Tensor, ...], output: Tensor) -> Tensor:
            activations.append((module, output))
            return output.clone()  # what follows may change its own one in place

        if {"fisher", "fisher_weighted"} & {*self.wanted}:
            for module in self.used.modules():
                if isinstance(module, (nn.modules.conv._ConvNd, nn.Linear)):
                    module.register_forward_hook(keep)
        x = self.x.clone().requires_grad_(self.x.is_floating_point())
        return x, self.call(self.used, x), activations

    @cached_property
    def loss_gradients(self) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
        """Return the loss's gradients by the weights and by `forward`'s activations."""
        _, logits, activations = self.forward
        by = [*self.weights, *(activation for _, activation in activations)]
        loss = self.loss(logits, self.labels)
        gradients = backward(loss, by, create_graph="grasp" in self.wanted)  # which derives again
        n_weights = len(self.weights)
        return gradients[:n_weights], gradients[n_weights:]

    @cached_property
    def blocks(self) -> list[Tensor]:
        """Return what goes into the first block and what each gives, under Kaiming's weights."""
        network, calls = self.redrawn(0, "kaiming normal"), list[tuple[nn.Module, Any, Tensor]]()

        def start(_: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...] | None:
            if not given or not _are_maps(given[0]) or given[0].requires_grad:
                return None
            return (given[0].detach().requires_grad_().clone(), *given[1:])

        def keep(module: nn.Module, given: tuple[Any, ...], output: Any) -> None:
            if _are_maps(output):
                output = output if output.requires_grad else output.requires_grad_()
                calls.append((module, given[0] if given else None, output))

        for module in network.modules():
            lists = nn.Sequential | nn.ModuleList | nn.ModuleDict
            if any(True for _ in module.children()) and not isinstance(module, lists):
                module.register_forward_pre_hook(start)
                module.register_forward_hook(keep)
        self.call(network, self.x)
        giving = {id(module) for module, _, _ in calls}
        blocks = inner = _blocks(network, giving)
        while len(inner) == 1:  # which may only wrap them
            inner = _blocks(inner[0], giving)
        chosen = {id(block) for block in inner or blocks}
        maps = [(given, output) for module, given, output in calls if id(module) in chosen]
        name = type(network).__name__
        if not maps:
            what = f"{name} has no blocks, by which az-nas is defined: modules that hold others"
            raise ValueError(f"{what} and give maps (image, channel, height, width)")
        if not _are_maps(maps[0][0]):
            kind = type((inner or blocks)[0]).__name__
            raise ValueError(f"the first block of {name}, {kind}, takes no maps as its first input")
        return [maps[0][0], *(output for _, output in maps)]

    @cached_property
    def entropies(self) -> list[float]:
        """Return the entropy of the channels' principal components of each of `blocks`."""
        values = []
        for maps in self.blocks:
            channels = maps.detach().movedim(1, 0).flatten(1).double()  # no eigenvalue below 0
            shares = torch.linalg.eigvalsh(torch.cov(channels, correction=0))
            shares = shares / shares.sum()
            values.append(float(-(shares * torch.log(shares + 1e-8)).sum()))
        return values

    def relus(self, x: Tensor, use: Watch) -> Tensor:
        """Run the network; `use` is that of :func:`watch_relus`, for ReLUs by name."""
        network = self.fresh()
        watch_relus(network, use, named=True)
        return self.call(network, x)


def backward(outputs: Tensor, inputs: Iterable[Tensor], **options: Any) -> tuple[Tensor, ...]:
    """Return gradients, 0 for what has no part in the outputs; the graph is kept."""
    options = {"retain_graph": True, "materialize_grads": True} | options
    return torch.autograd.grad(outputs, list(inputs), **options)


def watch_relus(network: nn.Module, use: Watch, named: bool = False) -> None:
    """Hand number and inputs of each ReLU that is called to a function, which may replace them.

    ReLUs are ``torch.nn.ReLU``, or, if `named`, modules with "ReLU" in the name of their class.
    """
    calls = itertools.count()
    relus = [
        module
        for module in network.modules()
        if ("ReLU" in type(module).__name__ if named else isinstance(module, nn.ReLU))
    ]
    if not relus:
        what = f"{type(network).__name__} has no torch.nn.ReLU"
        what += ' or other module with "ReLU" in its class\'s name' if named else ""
        metrics = "naswot is" if named else "linear_regions and swap are"
        raise ValueError(f"{what}, by whose activations {metrics} defined")
    for module in relus:
        module.register_forward_pre_hook(lambda _, given: use(next(calls), given[0]))


def named_weights(network: nn.Module) -> dict[str, nn.Parameter]:
    """Return the parameters that metrics of pruning are defined by; see `epsutil.proxies`."""
    norms = (module for module in network.modules() if isinstance(module, _NORMS))
    no = initialise.embeddings(network)
    no |= {id(parameter) for norm in norms for parameter in norm.parameters(recurse=False)}
    found = {
        name: parameter
        for name, parameter in network.named_parameters()
        if parameter.ndim > 1 and "weight" in _local(name) and id(parameter) not in no
    }
    if not found:
        raise ValueError(
            f"{type(network).__name__} has no weights: parameters of two or more dimensions with "
            '"weight" in their name, of layers that are no embedding or normalisation'
        )
    return found


def _blocks(network: nn.Module, giving: set[int]) -> list[nn.Module]:
    """Return the outermost modules inside a network that are among those that give maps."""
    found = []
    for module in network.children():
        found += [module] if id(module) in giving else _blocks(module, giving)
    return found


def _are_maps(value: Any) -> bool:
    """Tell whether these are maps (image, channel, height, width) of more than one pixel."""
    maps = isinstance(value, Tensor) and value.ndim == 4 and value.is_floating_point()
    return maps and value.shape[2] * value.shape[3] > 1


def _local(name: str) -> str:
    """Return a parameter's own name, that of the list for one in a list."""
    *path, last = name.split(".")
    return path[-1] if last.isdigit() and path else last
