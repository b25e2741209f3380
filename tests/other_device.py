"""A second device where there is none, to see whether code leaves the one that it was given.

Run by `test_proxies`, in a process of its own: PyTorch keeps the device.
"""

import json

import test_proxies
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

from epsutil import proxies

NAME = "elsewhere"


class _Elsewhere(torch.Tensor):
    """A tensor on the other device, whose values lie in one on this."""

    @staticmethod
    def __new__(cls, here):
        far = torch.Tensor._make_wrapper_subclass(
            cls, here.shape, here.stride(), here.storage_offset(), dtype=here.dtype,
            device=torch.device(NAME, 0), requires_grad=False,
        )  # fmt: skip
        far.here = here
        return far

    def __repr__(self):
        return f"elsewhere({self.here})"

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return _run(func, args, kwargs or {})


class _Factories(TorchDispatchMode):
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return _run(func, args, kwargs or {})


def _run(func, args, kwargs):
    values, _ = tree_flatten((args, kwargs))
    tensors = [value for value in values if isinstance(value, torch.Tensor)]
    far = [value for value in tensors if isinstance(value, _Elsewhere)]
    wanted = kwargs.get("device")
    moves = func.overloadpacket in (torch.ops.aten._to_copy, torch.ops.aten.copy_)
    generator = kwargs.get("generator")
    there = bool(far) if wanted is None else torch.device(wanted).type == NAME
    if there and generator is not None and generator.device.type != NAME:
        raise RuntimeError(f"{func}: a generator of the cpu, tensors elsewhere")
    if far and not moves and any(t.ndim for t in tensors if not isinstance(t, _Elsewhere)):
        raise RuntimeError(f"{func}: tensors on two devices")
    if moves and wanted is None and func.overloadpacket is torch.ops.aten.copy_:
        there = isinstance(args[0], _Elsewhere)
    if not far and not there:
        return func(*args, **kwargs)
    if wanted is not None:
        kwargs = {**kwargs, "device": "cpu"}
    made = {id(value.here): value for value in far}
    args, kwargs = tree_map(lambda v: v.here if isinstance(v, _Elsewhere) else v, (args, kwargs))
    result = func(*args, **kwargs)

    def wrapped(value):
        if not isinstance(value, torch.Tensor) or not there:
            return value
        return made.get(id(value)) if id(value) in made else _Elsewhere(value)

    return tree_map(wrapped, result)


def put(thing):
    """Move a tensor, or a module's own ones, to the device."""
    if isinstance(thing, torch.Tensor):
        return _Elsewhere(thing.detach().clone())
    for module in thing.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                module._parameters[name] = torch.nn.Parameter(_Elsewhere(parameter.detach()))
    return thing


def main():
    """Print, as JSON, each metric of a small network here and there; an error as its text."""
    _setup_privateuseone_for_python_backend(NAME)
    torch.__future__.set_swap_module_params_on_conversion(True)  # of `double`
    proxies.INITIALISATIONS, proxies.SWAP_DRAWS = 3, 2
    (x, labels), told = test_proxies.batch(), {}
    for name in proxies.names():
        told[name] = [proxies.compute(test_proxies.network(), (x, labels), [name])[name]]
    with _Factories():
        for name in proxies.names():
            data = put(x), put(labels)
            try:
                told[name] += proxies.compute(put(test_proxies.network()), data, [name]).values()
            except Exception as error:
                told[name].append(str(error))
    print(json.dumps(told))


if __name__ == "__main__":
    main()
