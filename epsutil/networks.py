"""A caller's network, copied and called, so that it can be scored and is left as it was.

Whatever is wrong with a network ends in a ValueError of one line that names it.
"""

import copy
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.parameter import is_lazy
from torch.nn.utils import parametrizations, parametrize, remove_spectral_norm, remove_weight_norm
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from epsutil import initialise

_HALF = (torch.float16, torch.bfloat16)


@contextmanager
def isolated() -> Iterator[None]:
    """Compute as if nothing were set outside, and leave everything set as it was.

    Gradients are on, also under ``torch.no_grad`` and ``torch.inference_mode``, autocast is off,
    attention takes the plain kernel, which has second derivatives, and one seed is set.
    """
    fused = torch.backends.mha.get_fastpath_enabled()
    with ExitStack() as settings:
        settings.callback(torch.backends.mha.set_fastpath_enabled, fused)
        settings.enter_context(torch.inference_mode(False))
        settings.enter_context(torch.enable_grad())
        settings.enter_context(torch.autocast("cpu", enabled=False))
        settings.enter_context(sdpa_kernel(SDPBackend.MATH))
        settings.enter_context(initialise.fixed_random(0))
        torch.backends.mha.set_fastpath_enabled(False)
        yield


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch compute on one thread, and leave the number of its threads as it was.

    A thread of Python begins with what any other set last: of several at once the first counts.
    """
    with _lock:
        own = torch.get_num_threads()  # asked in any case: the first question resets it
        _counts.append(before := _counts[0] if _counts else own)
        torch.set_num_threads(1)
    try:
        yield
    finally:
        with _lock:
            _counts.pop()
            torch.set_num_threads(before)


_lock = threading.Lock()
_counts: list[int] = []  # one for each that computes on one thread


def private(network: nn.Module, x: Tensor) -> nn.Module:
    """Return a copy of a network in the form in which it is scored.

    BatchNorm, and InstanceNorm, take the statistics of the batch, everything else is in evaluation
    mode, so that dropout is off. Activations do not work in place; float16 and bfloat16 become
    float32; lazy layers get their sizes from one pass. Of a compiled module, the original is taken;
    the older ``weight_norm`` and ``spectral_norm`` become the parametrisations of today. Hooks on
    the way forward belong to the network, those on the way back do not.

    `x` are inputs that it takes.

    Raises
    ------
    ValueError
        The network is scripted or traced, or cannot be copied.

    Examples
    --------
    Dropout is off and BatchNorm takes the statistics of the batch, as often as one likes:

    >>> network = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2), nn.Dropout(0.5))
    >>> x = torch.tensor([[1.0, 0.0, 0.0], [0.0, 2.0, 4.0]])
    >>> copied = private(network, x)
    >>> torch.equal(copied(x), copied(x)), network.training
    (True, True)
    """
    if not isinstance(network, nn.Module):
        raise ValueError(f"a network is a torch.nn.Module, made already, not {network!r}")
    network = getattr(network, "_orig_mod", network)  # torch.compile's
    name = type(network).__name__
    if any(isinstance(module, torch.jit.ScriptModule) for module in network.modules()):
        raise ValueError(
            f"{name} is, or holds, a scripted or traced module, which cannot be scored: "
            "give the module that it was made from"
        )
    copied = duplicate(network)
    for module in list(copied.modules()):
        for child, inner in list(module.named_children()):
            if hasattr(inner, "_orig_mod"):
                setattr(module, child, inner._orig_mod)
    copied._apply(lambda tensor: tensor.float() if tensor.dtype in _HALF else tensor)
    for module in copied.eval().modules():
        module._backward_hooks.clear()
        module._backward_pre_hooks.clear()
        if isinstance(getattr(module, "inplace", None), bool):
            module.inplace = False  # type: ignore[assignment]
        _modernise(module)
    if any(is_lazy(tensor) for tensor in [*copied.parameters(), *copied.buffers()]):
        buffers = {key: b.clone() for key, b in copied.named_buffers() if not is_lazy(b)}
        with torch.no_grad():
            call(copied, x)
            for key, buffer in buffers.items():
                copied.get_buffer(key).copy_(buffer)
    for module in copied.modules():
        if isinstance(module, nn.modules.batchnorm._NormBase):
            module.running_mean = module.running_var = module.num_batches_tracked = None
            module.track_running_stats = False
    return copied


def duplicate(network: nn.Module) -> nn.Module:
    """Return a deep copy of a network, also where it keeps tensors that it has computed."""
    name = type(network).__name__
    try:
        with _Detached():
            copied = copy.deepcopy(network)
    except Exception as error:  # whatever an attribute may raise
        raise ValueError(
            f"{name} cannot be copied, so that it could not be left as it was: {cause(error)}"
        ) from error
    if {id(p) for p in copied.parameters()} & {id(p) for p in network.parameters()}:
        raise ValueError(f"{name} cannot be copied: its copy shares parameters with it")
    return copied


class _Detached(TorchFunctionMode):
    """Lets deepcopy take tensors that have a graph, by their values, and lazy buffers."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is Tensor.__deepcopy__:
            tensor, memo = args
            if is_lazy(tensor):
                made: Any = type(tensor)
                return memo.setdefault(id(tensor), made(dtype=tensor.dtype))
            if not tensor.is_leaf or tensor.is_inference():
                return memo.setdefault(id(tensor), tensor.detach().clone())
        return func(*args, **(kwargs or {}))


def _modernise(module: nn.Module) -> None:
    """Turn the norms of weights that are made by hooks into parametrisations."""
    for hook in list(module._forward_pre_hooks.values()):
        if isinstance(hook, WeightNorm):
            key = hook.name
            values = [getattr(module, f"{key}_{part}").detach() for part in "gv"]
            remove_weight_norm(module, key)
            parametrizations.weight_norm(module, key, hook.dim)
        elif isinstance(hook, SpectralNorm):
            key = hook.name
            values = [getattr(module, f"{key}_{part}").detach() for part in ("orig", "u", "v")]
            remove_spectral_norm(module, key)
            parametrizations.spectral_norm(module, key, hook.n_power_iterations, hook.eps, hook.dim)
        else:
            continue
        made: Any = module.parametrizations[key]  # type: ignore[index]
        for tensor, value in zip([*made.parameters(), *made.buffers()], values, strict=True):
            tensor.data.copy_(value)


def plain(network: nn.Module) -> nn.Module:
    """Return a copy whose parametrised weights are the weights that they give."""
    network = duplicate(network)
    for module in list(network.modules()):
        if parametrize.is_parametrized(module):  # not torch's way, which changes a shared class
            made: Any = module.parametrizations
            tensors = {name: getattr(module, name).detach().clone() for name in made}
            module.__class__ = parametrize.type_before_parametrizations(module)
            del module.parametrizations
            for name, tensor in tensors.items():
                if list(made[name].parameters()):
                    module.register_parameter(name, nn.Parameter(tensor))
                else:
                    module.register_buffer(name, tensor)
    return network


def numbers(x: Any) -> Tensor:
    """Return a batch of inputs as a tensor of its own, float16 and bfloat16 as float32."""
    try:
        x = torch.as_tensor(x).detach().clone()
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"a batch is a tensor or an array of numbers, not {type(x).__name__}"
        ) from error
    if not x.ndim or not x.numel():
        raise ValueError(f"a batch of shape {tuple(x.shape)} holds no inputs")
    return x.float() if x.dtype in _HALF else x


def call(network: nn.Module, x: Tensor, seed: int = 0) -> Tensor:
    """Return the outputs of a network, or say what is wrong with it.

    It gets the inputs as a copy, which it may change, and draws the same random numbers each time.
    """
    name = type(network).__name__
    try:
        with initialise.fixed_random(seed):
            outputs = network(x.clone())
    except Exception as error:  # whatever a user's module may raise
        raise ValueError(f"{name} fails on {described(x)}: {cause(error, kind=False)}") from error
    if not isinstance(outputs, Tensor) or not outputs.is_floating_point():
        raise ValueError(
            f"{name} must return a floating-point tensor, not {_what(outputs)}; "
            "wrap it in a module that returns its logits"
        )
    return outputs.float() if outputs.dtype in _HALF else outputs


def check(network: nn.Module, x: Tensor) -> Tensor:
    """Call a network, and refuse it if it computes with parameters that are not its own."""
    with _OwnParameters(network), torch.no_grad():
        return call(network, x)


class _OwnParameters(TorchFunctionMode):
    """Sees parameters that a network does not list, so that nothing could set them."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.own = {id(parameter) for parameter in network.parameters()}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        for value in tree_leaves((args, kwargs)):
            if type(value) is nn.Parameter and id(value) not in self.own:
                raise ValueError(
                    f"a parameter of shape {tuple(value.shape)} is not registered: hold modules in "
                    "nn.ModuleList, and let no function hold the module itself"
                )
        return func(*args, **(kwargs or {}))


def described(x: Tensor) -> str:
    """Return what a message says of a batch."""
    return f"inputs of shape {tuple(x.shape)} and type {x.dtype}"


def cause(error: BaseException, kind: bool = True) -> str:
    """Return what an error says, in one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if kind or not text else text


def _what(value: Any) -> str:
    """Name a value that is no tensor of outputs."""
    if isinstance(value, Tensor):
        return f"a tensor of {value.dtype} and shape {tuple(value.shape)}"
    kind = type(value).__name__
    if isinstance(value, dict):
        return f"{kind} with the keys {', '.join(map(str, value))}"
    if isinstance(value, tuple | list):
        return f"{kind} of {', '.join(type(part).__name__ for part in value)}"
    return kind
