"""The search spaces, by name; :class:`Space` says what each one can do."""

from collections.abc import Callable

from epsutil.names import check_known
from epsutil.spaces.base import Space
from epsutil.spaces.nasbench101 import NASBench101
from epsutil.spaces.nasbench201 import NASBench201
from epsutil.spaces.nasbench_macro import NASBenchMacro
from epsutil.spaces.nasbench_nlp import NASBenchNLP

__all__ = ["Space", "get", "names"]

_SPACES: dict[str, Callable[..., Space]] = {
    "nasbench101": NASBench101,
    "nasbench201": NASBench201,
    "nasbench_macro": NASBenchMacro,
    "nasbench_nlp": NASBenchNLP,
}


def names() -> tuple[str, ...]:
    """Return the names that :func:`~epsutil.spaces.get` knows.

    Examples
    --------
    >>> names()
    ('nasbench101', 'nasbench201', 'nasbench_macro', 'nasbench_nlp')
    """
    return tuple(_SPACES)


def get(name: str | Space) -> Space:
    """Return a search space; a space itself is returned as it is.

    Parameters
    ----------
    name : str or Space
        One of :func:`names`. ``"nasbench_nlp@uniform-centred-1"`` is NAS-Bench-NLP with another
        embedding, see `epsutil.spaces.nasbench_nlp.EMBEDDINGS`.

    Raises
    ------
    ValueError
        The name is not one of those.

    Examples
    --------
    >>> get("nasbench201")[1462]
    '|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|nor_conv_3x3~0|nor_conv_3x3~1|nor_conv_3x3~2|'
    """
    if isinstance(name, Space):
        return name
    space, _, variant = name.partition("@")
    check_known("search space", name if variant and space != "nasbench_nlp" else space, _SPACES)
    return _SPACES[space](variant.replace("-", " ")) if variant else _SPACES[space]()
