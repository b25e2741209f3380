"""The search spaces, by name.

Every space offers the same calls: ``len(space)``, ``space[i]``, ``parse``, ``index``, ``key``,
``mutate``, ``build`` (the full-width torch network), ``outputs`` (the width-collapsed evaluation),
``score``, ``parameters`` and ``flops``.
"""

from collections.abc import Callable

from epsutil.spaces.nasbench201 import NASBench201

_SPACES: dict[str, Callable[[], NASBench201]] = {"nasbench201": NASBench201}


def names() -> tuple[str, ...]:
    """Return the names that :func:`get` knows."""
    return tuple(_SPACES)


def get(name: str) -> NASBench201:
    """Return a search space.

    Parameters
    ----------
    name : {"nasbench201"}

    Raises
    ------
    ValueError
        The name is not one of :func:`names`.

    Examples
    --------
    >>> get("nasbench201")[1462]
    '|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_3x3~2|'
    """
    if name not in _SPACES:
        raise ValueError(f"unknown search space {name!r}; the known ones are {', '.join(_SPACES)}")
    return _SPACES[name]()
