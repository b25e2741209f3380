"""A caller's network, copied and called, so that it can be scored and is left as it was.

Whatever is wrong with a network ends in a ValueError of one line that names it.
"""

import copy
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from types import CellType, CodeType, FunctionType, MethodType, ModuleType, SimpleNamespace
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.parameter import is_lazy
from torch.nn.utils import parametrizations, parametrize, remove_spectral_norm, remove_weight_norm
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm
from torch.overrides import TorchFunctionMode
from torch.utils import checkpoint
from torch.utils._pytree import tree_leaves

from epsutil import initialise

_HALF = (torch.float16, torch.bfloat16)
_NAMES = {"Half": torch.half, "BFloat16": torch.bfloat16, "Float": torch.float}
_CASTS = {getattr(Tensor, name.lower()): dtype for name, dtype in _NAMES.items()}
_PLAIN = frozenset(vars(nn.Module()))  # what every module has
_OFF: dict[Any, dict[str, Any]] = {  # what is in place of torch's while a network is scored
    torch: {"set_autocast_enabled": lambda *_: None, "set_autocast_cpu_enabled": lambda *_: None},
    checkpoint: {  # a second pass would meet the metrics' hooks again
        "CheckpointFunction": SimpleNamespace(apply=lambda function, _, *args: function(*args)),
        "_checkpoint_without_reentrant_generator": lambda *_, **__: (yield),
    },
    nn.modules.module: {
        f"_global_{way}{kind}_hooks": {} for way in ("forward", "backward") for kind in ("", "_pre")
    },
}
_ONE = threading.RLock()  # torch's settings and random numbers are those of the whole process


@contextmanager
def isolated() -> Iterator[None]:
    """Compute as if nothing were set outside, and leave everything set as it was.

    Gradients are on, also under ``torch.no_grad`` and ``torch.inference_mode``, autocast is off,
    also inside a network, attention takes the plain kernel, which has second derivatives, nothing
    is checkpointed, no hook is on all modules, one seed is set. One thread at a time.
    """
    fused = torch.backends.mha.get_fastpath_enabled()
    with _ONE, ExitStack() as settings:
        settings.callback(torch.backends.mha.set_fastpath_enabled, fused)
        settings.callback(torch.set_default_dtype, torch.get_default_dtype())
        settings.enter_context(torch.inference_mode(False))
        settings.enter_context(torch.enable_grad())
        settings.enter_context(torch.autocast("cpu", enabled=False))
        settings.enter_context(sdpa_kernel(SDPBackend.MATH))
        settings.enter_context(initialise.fixed_random(0))
        for owner, changed in _OFF.items():
            settings.enter_context(mock.patch.multiple(owner, **changed))
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


def private(network: nn.Module, x: Tensor, sized: bool = False) -> nn.Module:
    """Return a copy of a network in the form in which it is scored.

    BatchNorm, and InstanceNorm, take the statistics of the batch, everything else is in evaluation
    mode, so that dropout is off. Other buffers, and plain tensors, are kept as they are, see
    `kept`. Activations do not work in place; float16 and bfloat16 become float32; lazy layers
    get their sizes from one pass. Of a compiled module, the original is taken; the older
    ``weight_norm`` and ``spectral_norm`` become the parametrisations of today. Hooks on the way
    forward belong to the network, with copies of all that they hold; those on the way back do not.

    `x` are inputs that it takes. Where only its size is asked for (`sized`), a network may be on
    the meta device, without values.

    Raises
    ------
    ValueError
        The network is scripted, traced, quantised or complex, or cannot be copied.

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
    _check_kinds(network, name, sized)
    copied = duplicate(network)
    for module in list(copied.modules()):
        for child, inner in list(module.named_children()):
            if hasattr(inner, "_orig_mod"):
                setattr(module, child, inner._orig_mod)
    copied._apply(lambda tensor: tensor.float() if tensor.dtype in _HALF else tensor)
    for module in copied.modules():
        module.training = False  # not by eval(), which may be the user's own
        module._backward_hooks.clear()
        module._backward_pre_hooks.clear()
        with suppress(AttributeError):  # a property
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


def _check_kinds(network: nn.Module, name: str, sized: bool) -> None:
    """Refuse modules and parameters that have no weights that one could set or draw."""
    try:
        modules = list(network.modules())
    except TypeError as error:  # __eq__ without __hash__
        raise ValueError(f"torch cannot list the modules of {name}: {cause(error)}") from error
    if any(isinstance(module, torch.jit.ScriptModule) for module in modules):
        raise ValueError(
            f"{name} is, or holds, a scripted or traced module, which cannot be scored: "
            "give the module that it was made from"
        )
    listed = {id(module) for module in modules}
    for module in modules:
        kind, reason = type(module).__name__, ""
        if any(child is not None and id(child) not in listed for child in module._modules.values()):
            reason = "children that torch takes for one, by their __eq__"
        elif "quantized" in type(module).__module__.split("."):
            reason = "no weights, being quantised"
        for key, tensor in module.named_parameters(recurse=False):
            if tensor.is_complex() or tensor.dtype in (torch.int8, torch.uint8):
                reason = f"{key} of {tensor.dtype}, and scores are defined by real weights"
            elif tensor.is_meta and not is_lazy(tensor) and not sized:
                reason = "no values on the meta device, where only params and flops are counted"
        if reason:
            raise ValueError(f"{name} cannot be scored: {kind} has {reason}")


def held(network: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yield name and tensor of what modules hold beside parameters, also in lists and dicts."""
    for path, module in network.named_modules():
        own = {name: value for name, value in vars(module).items() if name not in _PLAIN}
        for name, value in {**own, **module._buffers}.items():
            for tensor in tree_leaves(value):
                if isinstance(tensor, Tensor) and not isinstance(tensor, nn.Parameter):
                    yield f"{path}.{name}".lstrip("."), tensor


def kept(network: nn.Module) -> list[str]:
    """Name the buffers and plain tensors of real numbers, which no metric sets or draws.

    Running statistics, which no metric uses, are not named.
    """
    found = dict.fromkeys(name for name, tensor in held(network) if tensor.dtype.is_floating_point)
    return [name for name in found if not name.endswith(("running_mean", "running_var"))]


def duplicate(network: nn.Module) -> nn.Module:
    """Return a deep copy of a network, also where it keeps tensors that it has computed."""
    name, memo = type(network).__name__, dict[int, Any]()
    try:
        with _Detached():
            copied = copy.deepcopy(network, memo)
            for module in copied.modules():
                for hooks in (module._forward_hooks, module._forward_pre_hooks):
                    hooks.update({key: _bound(hook, memo) for key, hook in hooks.items()})
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
                made = memo.setdefault(id(tensor), tensor.detach().clone())
                made.computed = not tensor.is_leaf  # see `Precision`
                return made
        return func(*args, **(kwargs or {}))


def _bound(value: Any, memo: dict[int, Any], within: Any = None) -> Any:
    """Return a hook, or what one holds, bound to copies of the modules and objects of the user.

    These are in closures, defaults and the global variables that a function names; of other
    functions only those of the same file, whose globals are `within`, are bound.
    """
    if isinstance(value, partial):
        return partial(_bound(value.func, memo), *value.args, **value.keywords)
    if isinstance(value, MethodType):
        owner = value.__self__ if within is None else copy.deepcopy(value.__self__, memo)
        return MethodType(_bound(value.__func__, memo), owner)
    if id(value) in memo or isinstance(value, ModuleType):
        return memo.get(id(value), value)
    if not isinstance(value, FunctionType):
        return value if within is None else copy.deepcopy(value, memo)
    if within not in (None, value.__globals__):
        return value
    scope, cells = dict(value.__globals__), [CellType() for _ in value.__closure__ or ()]
    made = FunctionType(value.__code__, scope, value.__name__, None, tuple(cells))
    memo[id(value)] = made
    for name in _named(value.__code__) & scope.keys():
        scope[name] = _bound(scope[name], memo, value.__globals__)
    for cell, old in zip(cells, value.__closure__ or (), strict=True):
        with suppress(ValueError):  # an empty one
            cell.cell_contents = _bound(old.cell_contents, memo, value.__globals__)
    made.__defaults__ = copy.deepcopy(value.__defaults__, memo)
    made.__kwdefaults__ = copy.deepcopy(value.__kwdefaults__, memo)
    return made


def _named(code: CodeType) -> set[str]:
    """Return the names that a function's code, with what is defined in it, may look up."""
    inner = (part for part in code.co_consts if isinstance(part, CodeType))
    return set(code.co_names).union(*map(_named, inner))


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


def call(network: nn.Module, x: Tensor, seed: int = 0, check: bool = False) -> Tensor:
    """Return the outputs of a network, or say what is wrong with it.

    It gets the inputs as a copy, which it may change, and draws the same random numbers each time,
    also from a generator of its own. With `check` it is refused, too, if it computes with tensors
    that nothing could set: parameters that are not its own, and what was computed earlier.
    """
    name = type(network).__name__
    try:
        gradients = torch.set_grad_enabled(torch.is_grad_enabled() and not check)
        with initialise.fixed_random(seed), gradients, Precision(network, x, check):
            outputs = network(x.clone())
    except Exception as error:  # whatever a user's module may raise
        raise ValueError(f"{name} fails on {described(x)}: {cause(error, kind=False)}") from error
    if not isinstance(outputs, Tensor) or not outputs.is_floating_point():
        raise ValueError(
            f"{name} must return a floating-point tensor, not {_what(outputs)}; "
            "wrap it in a module that returns its logits"
        )
    return outputs.float() if outputs.dtype in _HALF else outputs


class Precision(TorchFunctionMode):
    """Holds what a network computes to the precision of its parameters, or of its inputs.

    Where its code names a lower one, as by ``x.half()`` or ``dtype=``, that is taken as this one.
    Generators are as they were in the end. For `check` see :func:`call`.
    """

    def __init__(self, network: nn.Module, x: Tensor, check: bool = False) -> None:
        super().__init__()
        own: list[Any] = list(network.parameters())
        real = {tensor.dtype for tensor in own or [x] if tensor.is_floating_point()}
        self.dtype = torch.float64 if real == {torch.float64} else torch.float32
        self.network, self.generators = network, dict[int, tuple[torch.Generator, Tensor]]()
        self.own = {id(parameter) for parameter in own} if check else None

    def __enter__(self) -> Any:
        self.usual = torch.get_default_dtype()
        torch.set_default_dtype(self.dtype)  # of what the network makes as it goes
        return super().__enter__()

    def __exit__(self, *raised: Any) -> None:
        super().__exit__(*raised)
        torch.set_default_dtype(self.usual)
        for generator, state in self.generators.values():
            generator.set_state(state)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func.__name__ == "__get__":  # of a shape, a type, ...
            return func(*args, **kwargs)
        for value in tree_leaves((args, kwargs)):
            if isinstance(value, Tensor) and self.own is not None:
                self._check(value, self.own)
            elif isinstance(value, torch.Generator):
                self.generators.setdefault(id(value), (value, value.get_state()))
        if func in _CASTS:
            return args[0].to(self._at_least(_CASTS[func]), **kwargs)
        if func is Tensor.type and len(args) > 1 and not isinstance(args[1], torch.dtype):
            named = str(args[1]).rpartition(".")[2].partition("Tensor")[0]
            args = (args[0], _NAMES.get(named, args[1]))
        elif func in (Tensor.to, Tensor.type_as) and isinstance(args[-1], Tensor):
            args = (*args[:-1], args[-1].to(self._at_least(args[-1].dtype)))
        if func is not Tensor.view:  # which reads the bits as another type
            args = [self._at_least(value) for value in args]
            kwargs = {key: self._at_least(value) for key, value in kwargs.items()}
        return func(*args, **kwargs)

    def _at_least(self, dtype: Any) -> Any:
        """Return a type of numbers, the network's own in place of a smaller one."""
        if isinstance(dtype, torch.dtype) and (dtype.is_floating_point or dtype.is_complex):
            own = self.dtype.to_complex() if dtype.is_complex else self.dtype
            return own if dtype.itemsize < own.itemsize else dtype
        return dtype

    def _check(self, value: Tensor, own: set[int]) -> None:
        computed = getattr(value, "computed", False)
        given = value.requires_grad and not torch.is_grad_enabled() or type(value) is nn.Parameter
        if not computed and (not given or {id(value), id(value._base)} & own):
            return
        for name, tensor in held(self.network):
            if tensor is value:
                raise ValueError(
                    f"{name} is no parameter, but was computed from some or has gradients, so that "
                    "nothing could set it: compute it in forward, or detach it into a buffer"
                )
        raise ValueError(
            f"a parameter of shape {tuple(value.shape)} is not registered: hold modules in "
            "nn.ModuleList, and let no function hold the module itself"
        )


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
