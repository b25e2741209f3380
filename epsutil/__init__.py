"""Helpers of the reproducible companion to the epsilon paper.

Gracheva, *Neural Architecture Search via Two Constant Shared Weights Initialisations*,
arXiv:2302.04406v2.

>>> from epsutil import metric, spaces
>>> space = spaces.get("nasbench201")
>>> len(space)
15625
"""

__version__ = "0.1.0"
