"""One-channel kernel for recurrent cells (NAS-Bench-NLP), compiled.

Under one constant weight all units of a layer are equal, so a hidden state is one number per token
and column, and a linear node over n equal units is n times one product. The product with the weight
is taken first and rounded, as a full-width layer rounds what it adds up, so that signals vanish or
overflow where they do there; hence no reordering ("reassoc") by the compiler.
"""

import math

import numba
import numpy as np
from numpy.typing import NDArray

SLOPE = 0.01  # of leaky ReLU below zero, torch's default
_FACTORIALS = tuple(math.factorial(n) for n in range(12, 1, -1))

_LINEAR, _BLEND, _PROD, _SUM, _TANH, _SIGMOID = range(6)
_compiled = numba.njit(cache=True, error_model="numpy")
_contracted = numba.njit(cache=True, error_model="numpy", fastmath={"contract"})


@_compiled
def run(
    code: NDArray, states: NDArray, x: NDArray, weight: NDArray, units: NDArray
) -> NDArray[np.floating]:
    """Interpret a program for all weights, layers and steps; return the last layer's output.

    All layers take one step before any takes the next, so that what is live fits in the cache.
    `code` and `states` are those of :class:`epsutil.spaces.nasbench_nlp.Program`, its operations in
    the benchmark's order. `x` [time, batch] are summed embeddings, `weight` [K] and the layers'
    `units` have their dtype. The result is [K, time, batch].
    """
    n_layers, n_states = len(units), len(states)
    one = x.dtype.type(1)
    slope = x.dtype.type(SLOPE)
    h = np.empty((n_layers, 1 + n_states + len(code), x.shape[1]), x.dtype)  # registers
    result = np.empty((len(weight), *x.shape), x.dtype)
    for k in range(len(weight)):
        w = weight[k]
        h[:, 1 : 1 + n_states] = w
        for t in range(len(x)):
            for layer in range(n_layers):
                h[layer, 0] = x[t] if layer == 0 else h[layer - 1, states[0]]
                n_x = one if layer == 0 else units[layer - 1]
                for i in range(len(code)):
                    out = h[layer, 1 + n_states + i]
                    a = h[layer, code[i, 1]]
                    b = h[layer, code[i, 2]]  # any register where there is no second input
                    c = h[layer, code[i, 3]]
                    operation = code[i, 0]
                    if operation == _LINEAR:
                        n_a = n_x if code[i, 1] == 0 else units[layer]
                        n_b = n_x if code[i, 2] == 0 else units[layer]
                        n_c = n_x if code[i, 3] == 0 else units[layer]
                        if code[i, 3] < 0:
                            for j in range(len(out)):
                                out[j] = w * a[j] * n_a + w + w * b[j] * n_b
                        else:
                            for j in range(len(out)):
                                out[j] = w * a[j] * n_a + w + w * b[j] * n_b + w * c[j] * n_c
                    elif operation == _BLEND:
                        for j in range(len(out)):
                            out[j] = a[j] * b[j] + (one - a[j]) * c[j]
                    elif operation == _PROD:
                        for j in range(len(out)):
                            out[j] = a[j] * b[j]
                    elif operation == _SUM:
                        for j in range(len(out)):
                            out[j] = a[j] + b[j]
                    elif operation == _TANH:
                        for j in range(len(out)):
                            out[j] = _tanh(np.float64(a[j]))
                    elif operation == _SIGMOID:
                        for j in range(len(out)):
                            out[j] = one / (one + x.dtype.type(_exp(-np.float64(a[j]))))
                    else:
                        for j in range(len(out)):
                            out[j] = a[j] if a[j] > 0 else slope * a[j]
                for s in range(n_states):
                    h[layer, 1 + s] = h[layer, states[s]]
            result[k, t] = h[n_layers - 1, states[0]]
    return result


# NumPy's tanh and exp are called for one number at a time unless Intel's SVML is installed. These
# are computed in double precision, for float32 as well: to within 2.5 units in the last place of
# float64, hence nearly always correctly rounded in float32. Saturation is decided by rounding.


@_contracted
def _tanh(x: float) -> float:
    """Return tanh(x) from exp(2|x|) - 1, which is accurate near 0."""
    y = abs(x)
    y = 20.0 if y > 20 else y  # tanh is 1 from there on; NaN passes
    more, power = _expm1_parts(2 * y)
    grown = power * more + (power - 1)
    y = grown / (grown + 2)
    return -y if x < 0 else y


@_contracted
def _exp(x: float) -> float:
    """Return exp(x); beyond the range of float64 its largest or about its smallest number."""
    x = 709.0 if x > 709 else x
    x = -708.0 if x < -708 else x
    more, power = _expm1_parts(x)
    return power * more + power


@_contracted
def _expm1_parts(x: float) -> tuple[float, float]:
    """Split exp(x) into (1 + more) * power, with power = 2^k and |more| < 0.42."""
    shifted = x * 1.4426950408889634 + 6755399441055744.0  # 1.5 * 2^52: k in the lowest bits
    k = shifted - 6755399441055744.0
    r = x - k * 6.93147180369123816490e-01 - k * 1.90821492927058770002e-10  # ln 2, in two parts
    more = 1 / 6227020800  # Taylor's series up to r^13 / 13!
    for factorial in _FACTORIALS:
        more = more * r + 1 / factorial
    more = more * r * r + r
    power = np.int64((np.float64(shifted).view(np.int64) + 1023) << 52).view(np.float64)
    return more, power
