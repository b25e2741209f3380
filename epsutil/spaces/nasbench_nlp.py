"""NAS-Bench-NLP: the recipe of a recurrent cell, the network, its width collapse.

Klyuchnikov et al., *NAS-Bench-NLP: Neural Architecture Search Benchmark for Natural Language
Processing*, arXiv:2006.07116.

A recipe lists the nodes of a cell: an operation and its inputs, which are other nodes, the input
``x`` and the hidden states of the step before, ``h_prev_0`` to ``h_prev_2``. Nodes named
``h_new_0`` to ``h_new_2`` are the new hidden states; the first is the cell's output. The network
around the cell is always the same: an embedding of 10,000 words, then three layers of 600, 600 and
400 units. The decoder is tied to the embedding, and epsilon does not use it.
"""

import functools
import hashlib
import itertools
import json
import re
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numba
import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from epsutil import metric, sources
from epsutil.spaces.indexing import Indexed, one_line

WORDS = 10_000  # in the vocabulary of Penn Treebank
EMBEDDING = 400  # units
LAYERS = (600, 600, 400)  # units; the last is tied to the embedding
MAX_NODES = 24
MAX_STATES = 3
OPERATIONS = {  # how many inputs each may have
    "linear": (2, 3),
    "blend": (3,),
    "elementwise_prod": (2,),
    "elementwise_sum": (2,),
    "activation_tanh": (1,),
    "activation_sigm": (1,),
    "activation_leaky_relu": (1,),
}
ACTIVATIONS = tuple(operation for operation in OPERATIONS if operation.startswith("activation"))
SLOPE = 0.01  # of leaky ReLU below zero, torch's default
WEIGHTS = (1e-5, 1e-3)  # the paper's choice (Table 8)
SEED = 21  # of the embedding

Recipe = dict[str, dict[str, Any]]


class NASBenchNLP(Indexed[Recipe]):
    """The search space; an architecture is its recipe, ``{node: {"op": ..., "input": [...]}}``.

    ``space[i]`` is the recipe in row i of the benchmark's 14,322 single runs on Penn Treebank.
    Recipes that the benchmark lacks can be scored, too; see :meth:`generate`.

    Parameters
    ----------
    embedding : str
        How the embedding is drawn, one of `EMBEDDINGS` (Section 3.4). The paper's own choice is
        the default.
    """

    name = "nasbench_nlp"
    VERSION = 1  # raise it when a score or a network changes, see tests/test_recorded.py
    weights = WEIGHTS

    def __init__(self, embedding: str = "uniform positive 1") -> None:
        if embedding not in EMBEDDINGS:
            raise ValueError(
                f"unknown embedding {embedding!r}; the known ones are {', '.join(EMBEDDINGS)}"
            )
        self.embedding = embedding

    def __len__(self) -> int:
        return len(_texts())

    def _at(self, index: int) -> Recipe:
        return json.loads(_texts()[index])

    def index(self, arch: Mapping[str, Any] | str) -> int:
        """Return the benchmark's index of a recipe; the inverse of ``space[i]``.

        Raises
        ------
        ValueError
            The recipe is not valid, or not among the benchmark's.
        """
        text = _sorted_text(self.parse(arch))
        if text not in _indices():
            raise ValueError(f"not among the benchmark's {len(self):,} recipes: {text}")
        return _indices()[text]

    def parse(self, text: Mapping[str, Any] | str) -> Recipe:
        """Check a recipe.

        Parameters
        ----------
        text : dict, or str of JSON
            Its nodes, in any order.

        Returns
        -------
        dict
            ``{node: {"op": str, "input": list of str}}``.

        Raises
        ------
        ValueError
            It is not of that form, has an unknown operation or input, a wrong number of inputs, a
            cycle, more than 24 nodes, or lacks a hidden state; the message names it.

        Examples
        --------
        >>> NASBenchNLP().parse('{"h_new_0": {"op": "activation_relu", "input": ["x"]}}')
        Traceback (most recent call last):
            ...
        ValueError: node 'h_new_0': unknown operation 'activation_relu'; the known ones are \
linear, blend, elementwise_prod, elementwise_sum, activation_tanh, activation_sigm, \
activation_leaky_relu
        """
        recipe = _read(text)
        n_states = _n_states(recipe)
        known = {"x", *recipe, *(f"h_prev_{i}" for i in range(n_states))}
        for node, what in recipe.items():
            _check_node(node, what["op"], what["input"], known)
        _in_order(recipe)
        return recipe

    def text(self, arch: Mapping[str, Any] | str) -> str:
        """Return an architecture as text that `parse` reads: its recipe as JSON."""
        return json.dumps(self.parse(arch))

    def describe(self, arch: Mapping[str, Any] | str) -> str:
        """Return the cell's normal form, see :meth:`key`, in lines of at most 60 characters."""
        return "\n".join(textwrap.wrap(self.key(arch), 60))

    def key(self, arch: Mapping[str, Any] | str) -> str:
        """Return a text that is equal for architectures that compute the same function.

        It lists the nodes that the output needs, each distinct expression once and in a fixed
        order, with the inputs of sums, products and linear nodes sorted: under shared weights they
        commute. The names of nodes, and of hidden states after the first, do not matter.

        Examples
        --------
        >>> space = NASBenchNLP()
        >>> space.key({
        ...     "f": {"op": "linear", "input": ["x", "h_prev_0"]},
        ...     "h_new_0": {"op": "activation_tanh", "input": ["f"]},
        ... })
        'a=linear(h0,x); b=tanh(a); h0=b'
        """
        return _program(self.parse(arch)).key

    def structure(self, arch: Mapping[str, Any] | str) -> str:
        """Return a text that is equal for architectures that are the same network."""
        return self.text(arch)

    def mutate(self, arch: Mapping[str, Any] | str, rng: np.random.Generator) -> Recipe:
        """Change the operation of one node, or one of its inputs, drawn uniformly.

        Nodes that nothing needs any more are left out.
        """
        recipe = self.parse(arch)
        edits = _edits(recipe)
        for number in rng.permutation(len(edits)):
            node, what = edits[number]
            mutant = _needed(recipe | {node: what})
            if mutant != recipe and _acyclic(mutant) and _complete(mutant):
                return mutant
        raise ValueError(f"no valid recipe is one edit away from {json.dumps(recipe)}")

    def generate(self, rng: np.random.Generator) -> Recipe:
        """Draw a random recipe by the benchmark's rules.

        One to three hidden states and 7, 14 or 21 further nodes are drawn first. Every linear
        node, over two or three of the cell's inputs and activations, is followed by an activation;
        blends, sums and products take anything but ``x``. Random nodes become the hidden states,
        and what they do not need is left out. The draw is repeated until every input is used and
        no new hidden state reads an old one directly.

        References
        ----------
        Klyuchnikov et al., arXiv:2006.07116, Section 3, and the generator that they published.
        """
        while True:
            recipe = _draw(rng, int(rng.integers(1, MAX_STATES + 1)), int(rng.choice([7, 14, 21])))
            if len(recipe) <= MAX_NODES and _complete(recipe) and not _reads_directly(recipe):
                return recipe

    def parameters(self, arch: Mapping[str, Any] | str) -> int:
        """Count the trainable parameters of the benchmark's network.

        That is the embedding, which the decoder shares, the three layers, with nodes that the
        output does not need, and the decoder's 10,000 biases.
        """
        recipe = self.parse(arch)
        count = WORDS * EMBEDDING + WORDS
        for inputs, units in zip((EMBEDDING, *LAYERS), LAYERS, strict=False):
            for what in recipe.values():
                if what["op"] == "linear":
                    widths = [inputs if name == "x" else units for name in what["input"]]
                    count += units * (sum(widths) + 1)
        return count

    def build(self, arch: Mapping[str, Any] | str, num_classes: int = 1) -> nn.Module:
        """Build the full-width network, its embedding drawn, its layers in torch's usual range.

        Parameters
        ----------
        arch : dict or str
        num_classes : int, default 1
            How many of the last layer's units are returned. Epsilon uses one.

        Returns
        -------
        torch.nn.Module
            Takes token numbers, a LongTensor of shape (time, batch), and returns a tensor of the
            same shape; for more than one unit (time, batch, num_classes).
        """
        return Network(self.parse(arch), num_classes, _embedding(self.embedding))

    def language_model(self, arch: Mapping[str, Any] | str, num_classes: int = WORDS) -> nn.Module:
        """Build the network with the decoder, as it was trained: tied to the embedding.

        The embedding is uniform on [-0.1, 0.1], as in the benchmark's training, not the one that
        epsilon needs.

        Returns
        -------
        torch.nn.Module
            Takes token numbers (time, batch) and returns logits (time, batch, num_classes) of the
            word that follows.
        """
        network = Network(self.parse(arch), LAYERS[-1], _embedding(self.embedding))
        return LanguageModel(network, num_classes)

    def outputs(
        self,
        arch: Mapping[str, Any] | str,
        x: Tensor | NDArray,
        weights: Sequence[float],
        dtype: str | None = None,
    ) -> NDArray[np.floating]:
        """Evaluate the last layer's first unit under constant shared weights, by width collapse.

        Equal to :func:`epsutil.metric.outputs` of ``build(arch)`` up to rounding, and some
        thousand times faster.

        Parameters
        ----------
        arch : dict or str
        x : LongTensor or ndarray of integers, shape (time, batch)
            Token numbers, from 0 to 9,999.
        weights : sequence of float
            Any number.
        dtype : {"float32", "float64"}, optional
            The precision to compute in, by default float32.

        Returns
        -------
        ndarray, shape (len(weights), time * batch)

        Raises
        ------
        ValueError
            The recipe, or the shape, dtype or a value of `x` is not one of those above.
        """
        program = _program(self.parse(arch))
        tokens = _tokens(x)
        inputs = _token_sums(self.embedding)[tokens].astype(dtype or "float32")  # time, batch
        weight = np.array(weights, dtype=inputs.dtype)
        units = np.array(LAYERS, dtype=inputs.dtype)
        return _run(program.code, program.states, inputs, weight, units).reshape(len(weight), -1)

    def score(
        self,
        arch: Mapping[str, Any] | str,
        x: Tensor | NDArray,
        weights: Sequence[float] = WEIGHTS,
        dtype: str | None = None,
    ) -> float:
        """Return epsilon of an architecture (Eqs 1-4), computed from :meth:`outputs`.

        NaN where it is undefined. The default weights are the paper's (Table 8).
        """
        if len(weights) != 2:
            raise ValueError(f"epsilon takes two weights, not {len(weights)}: {tuple(weights)}")
        return metric.from_outputs(self.outputs(arch, x, weights, dtype))


# The recipes ---------------------------------------------------------------------------------


@functools.cache
def _texts() -> tuple[str, ...]:
    """All recipes of the benchmark's single runs, in the order of the file."""
    file = sources.path("nas-bench-nlp/ptb_single_run.csv.gz")
    return tuple(pd.read_csv(file, usecols=["recepie"])["recepie"])


@functools.cache
def _indices() -> dict[str, int]:
    return {_sorted_text(json.loads(text)): index for index, text in enumerate(_texts())}


def _sorted_text(recipe: Recipe) -> str:
    return json.dumps(recipe, sort_keys=True)


def _read(text: Any) -> Recipe:
    """Read a recipe's form, without its meaning."""
    recipe = text
    if isinstance(text, str):
        try:
            recipe = json.loads(text, object_pairs_hook=_once)
        except json.JSONDecodeError as error:
            raise ValueError(
                f"not a recipe, for it is not JSON ({error}): {one_line(text)}"
            ) from error
    if not isinstance(recipe, Mapping) or not recipe:
        raise ValueError(
            f'not a recipe: {one_line(text)}; the form is {{node: {{"op": ..., "input": [...]}}}}'
        )
    if len(recipe) > MAX_NODES:
        raise ValueError(f"the recipe has {len(recipe)} nodes; at most {MAX_NODES} are allowed")
    nodes = {}
    for node, what in recipe.items():
        if (
            not isinstance(what, Mapping)
            or set(what) != {"op", "input"}
            or not isinstance(what["op"], str)
            or not isinstance(what["input"], list | tuple)
            or not all(isinstance(name, str) for name in (node, *what["input"]))
        ):
            raise ValueError(
                f'node {node!r} is {one_line(what)}; the form is {{"op": name, "input": [names]}}'
            )
        nodes[node] = {"op": what["op"], "input": list(what["input"])}
    return nodes


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make a dict of a JSON object; of two nodes of one name JSON would keep the last."""
    names = [name for name, _ in pairs]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"the recipe has {names.count(name)} entries {name!r}")
    return dict(pairs)


def _state(node: str, prefix: str) -> int | None:
    """Return the number of a hidden state from its name, None for other nodes."""
    number = node.removeprefix(prefix)
    return int(number) if number != node and re.fullmatch("0|[1-9][0-9]{0,3}", number) else None


def _n_states(recipe: Recipe) -> int:
    """Count the hidden states, which must be numbered from 0."""
    numbers = sorted(n for node in recipe if (n := _state(node, "h_new_")) is not None)
    for expected, number in enumerate(numbers or [-1]):
        if number != expected:
            raise ValueError(
                f"the recipe has no node 'h_new_{expected}': a hidden state is missing"
            )
    if len(numbers) > MAX_STATES:
        raise ValueError(f"{len(numbers)} hidden states; at most {MAX_STATES} are allowed")
    return len(numbers)


def _check_node(node: str, operation: str, inputs: list[str], known: set[str]) -> None:
    if node == "x" or _state(node, "h_prev_") is not None:
        raise ValueError(f"{node!r} is an input of the cell and cannot be a node")
    if operation not in OPERATIONS:
        raise ValueError(
            f"node {node!r}: unknown operation {operation!r}; "
            f"the known ones are {', '.join(OPERATIONS)}"
        )
    if len(inputs) not in OPERATIONS[operation]:
        wanted = " or ".join(map(str, OPERATIONS[operation]))
        raise ValueError(f"node {node!r}: {operation} takes {wanted} inputs, not {len(inputs)}")
    for name in inputs:
        if name not in known:
            number = _state(name, "h_prev_")
            reason = "" if number is None else f": there is no node 'h_new_{number}'"
            raise ValueError(f"node {node!r} reads an unknown node {name!r}{reason}")
    if "x" in inputs and operation != "linear":
        raise ValueError(
            f"node {node!r}: only linear reads 'x', whose width differs; not {operation}"
        )


def _in_order(recipe: Recipe) -> list[str]:
    """Sort the nodes so that each comes after its inputs."""
    done: dict[str, None] = {}
    while len(done) < len(recipe):
        ready = [
            node
            for node, what in recipe.items()
            if node not in done and all(i in done or i not in recipe for i in what["input"])
        ]
        if not ready:
            rest = ", ".join(repr(node) for node in recipe if node not in done)
            raise ValueError(f"the recipe is cyclic: {rest} wait for each other")
        done |= dict.fromkeys(ready)
    return list(done)


# Recipes by chance ---------------------------------------------------------------------------


def _draw(rng: np.random.Generator, n_states: int, n_more: int) -> Recipe:
    """Draw a recipe as the benchmark's generator does; it may miss an input."""
    previous = [f"h_prev_{i}" for i in range(n_states)]
    recipe: Recipe = {}
    activations: list[str] = []

    def add(operation: str, candidates: list[str], count: int) -> str:
        node = f"node_{len(recipe)}"
        chosen = rng.choice(len(candidates), count, replace=False)
        recipe[node] = {"op": operation, "input": [candidates[i] for i in chosen]}
        return node

    while len(recipe) < n_states + n_more:
        operations = ("linear", "blend", "elementwise_prod", "elementwise_sum")
        operation = str(rng.choice(operations, p=np.array([3, 1, 1, 1]) / 6))
        if operation == "linear":
            count = int(rng.choice([2, 3], p=[0.8, 0.2]))
            candidates = ["x", *previous, *activations]
            linear = add("linear", candidates, min(count, len(candidates)))
            activations.append(add(str(rng.choice(ACTIVATIONS)), [linear], 1))
        else:
            candidates = [*previous, *recipe]
            (count,) = OPERATIONS[operation]
            if count <= len(candidates):
                add(operation, candidates, count)
    chosen = rng.choice(len(recipe), n_states, replace=False)
    names = {node: node for node in (*recipe, *previous, "x")}
    names |= {f"node_{node}": f"h_new_{state}" for state, node in enumerate(chosen)}
    return _needed(
        {
            names[node]: {"op": what["op"], "input": [names[name] for name in what["input"]]}
            for node, what in recipe.items()
        }
    )


def _needed(recipe: Recipe) -> Recipe:
    """Leave out the nodes that no hidden state needs."""
    reached = [node for node in recipe if _state(node, "h_new_") is not None]
    for node in reached:  # grows as it goes
        reached += [
            name for name in recipe[node]["input"] if name in recipe and name not in reached
        ]
    return {node: what for node, what in recipe.items() if node in reached}


def _complete(recipe: Recipe) -> bool:
    """Return whether the cell uses all its inputs."""
    used = {name for what in recipe.values() for name in what["input"]}
    return {"x", *(f"h_prev_{i}" for i in range(_n_states(recipe)))} <= used


def _reads_directly(recipe: Recipe) -> bool:
    """Return whether a new hidden state reads an old one without a node between."""
    return any(
        _state(node, "h_new_") is not None and _state(name, "h_prev_") is not None
        for node, what in recipe.items()
        for name in what["input"]
    )


def _acyclic(recipe: Recipe) -> bool:
    try:
        _in_order(recipe)
    except ValueError:
        return False
    return True


def _edits(recipe: Recipe) -> list[tuple[str, dict[str, Any]]]:
    """List all nodes with one thing changed; some edits make a cycle."""
    names = [*recipe, *(f"h_prev_{i}" for i in range(_n_states(recipe)))]
    edits = []
    for node, what in recipe.items():
        operation, inputs = what["op"], what["input"]
        others = [
            other
            for other, counts in OPERATIONS.items()
            if other != operation
            and len(inputs) in counts
            and not (other != "linear" and "x" in inputs)
        ]
        edits += [(node, {"op": other, "input": inputs}) for other in others]
        sources_ = names + (["x"] if operation == "linear" else [])
        edits += [
            (node, {"op": operation, "input": [*inputs[:place], name, *inputs[place + 1 :]]})
            for place in range(len(inputs))
            for name in sources_
            if name not in (*inputs, node)
        ]
    return edits


# The normal form -----------------------------------------------------------------------------


class Program(NamedTuple):
    """What a cell computes, as instructions over numbered registers.

    Register 0 is ``x``, the next ones are the old hidden states, then each instruction writes one.
    """

    code: NDArray[np.int64]  # n_instructions, 4: operation and up to three registers, else -1
    states: NDArray[np.int64]  # n_states: register of each new hidden state
    key: str


_CODES = {operation: code for code, operation in enumerate(OPERATIONS)}
_COMMUTE = ("linear", "elementwise_prod", "elementwise_sum")


def _program(recipe: Recipe) -> Program:
    """Write a cell in its normal form; hidden states after the first have no order of their own."""
    states = _used_states(recipe)
    orders = [(states[0], *rest) for rest in itertools.permutations(states[1:])]
    return min((_ordered_program(recipe, order) for order in orders), key=lambda p: p.key)


def _used_states(recipe: Recipe) -> list[int]:
    """Return the hidden states that the output depends on, sooner or later; the output is 0."""
    states = [0]
    for state in states:  # grows as it goes
        reached = [f"h_new_{state}"]
        for node in reached:
            for name in recipe[node]["input"] if node in recipe else ():
                if name not in reached:
                    reached.append(name)
        found = (_state(name, "h_prev_") for name in reached)
        states += [number for number in found if number is not None and number not in states]
    return [0, *sorted(states[1:])]


def _ordered_program(recipe: Recipe, order: Sequence[int]) -> Program:
    """Write a cell in its normal form, with its hidden states in the given order."""
    names = {"x": "x"} | {f"h_prev_{state}": f"h{i}" for i, state in enumerate(order)}
    digests = names.copy()  # equal for equal expressions
    for node in _in_order(recipe):
        operation, inputs = recipe[node]["op"], recipe[node]["input"]
        parts = [digests.get(name, name) for name in inputs]
        parts = sorted(parts) if operation in _COMMUTE else parts
        digests[node] = hashlib.md5(
            f"{operation}{parts}".encode(), usedforsecurity=False
        ).hexdigest()

    registers = {"x": 0} | {f"h{i}": i + 1 for i in range(len(order))}  # by digest
    labels = {"x": "x"} | {f"h{i}": f"h{i}" for i in range(len(order))}
    code: list[list[int]] = []
    lines: list[str] = []

    def write(node: str) -> None:
        """Write the instructions for a node, unless they are there."""
        if digests[node] in registers:
            return
        operation, inputs = recipe[node]["op"], recipe[node]["input"]
        if operation in _COMMUTE:
            inputs = sorted(inputs, key=digests.__getitem__)
        for name in inputs:
            write(name)
        parts = [digests[name] for name in inputs]
        read = [registers[part] for part in parts]
        registers[digests[node]] = len(registers)
        labels[digests[node]] = label = chr(ord("a") + len(code))
        code.append([_CODES[operation], *read, *[-1] * (3 - len(read))])
        short = operation.removeprefix("activation_").removeprefix("elementwise_")
        lines.append(f"{label}={short}({','.join(labels[part] for part in parts)})")

    new = [f"h_new_{state}" for state in order]
    for node in new:
        write(node)
    lines += [f"h{i}={labels[digests[node]]}" for i, node in enumerate(new)]
    states = [registers[digests[node]] for node in new]
    return Program(np.array(code), np.array(states), "; ".join(lines))


# The embedding -------------------------------------------------------------------------------

EMBEDDINGS = {  # Table 10
    "uniform positive 0.1": lambda e, random: e.uniform_(0, 0.1, generator=random),
    "uniform positive 1": lambda e, random: e.uniform_(0, 1, generator=random),
    "uniform centred 0.1": lambda e, random: e.uniform_(-0.1, 0.1, generator=random),
    "uniform centred 1": lambda e, random: e.uniform_(-1, 1, generator=random),
    "random 0.1": lambda e, random: e.normal_(0, 0.1, generator=random),
    "random 1": lambda e, random: e.normal_(0, 1, generator=random),
}


@functools.cache
def _embedding(kind: str) -> Tensor:
    """Draw the embedding as after ``torch.manual_seed(21)``: [WORDS, EMBEDDING], float32."""
    random = torch.Generator().manual_seed(SEED)
    return EMBEDDINGS[kind](torch.empty(WORDS, EMBEDDING), random)


@functools.cache
def _token_sums(kind: str) -> NDArray[np.float64]:
    """Sum the units of every word's embedding: all that the first layer sees of it, [WORDS]."""
    return _embedding(kind).double().sum(1).numpy()


def _tokens(x: Tensor | NDArray) -> NDArray[np.integer]:
    """Check a batch of token numbers."""
    tokens = x.detach().cpu().numpy() if isinstance(x, Tensor) else np.asarray(x)
    if tokens.ndim != 2 or not tokens.size:
        raise ValueError(
            f"tokens have the shape (time, batch) and are not empty, not {tokens.shape}"
        )
    if not np.issubdtype(tokens.dtype, np.integer):
        raise ValueError(f"tokens are integers, not {tokens.dtype}")
    for token in (tokens.min(), tokens.max()):
        if not 0 <= token < WORDS:
            raise ValueError(f"token {token} is not in the vocabulary of 0 to {WORDS - 1:,}")
    return tokens


# The width collapse --------------------------------------------------------------------------
#
# Under one constant weight all units of a layer are equal, so a hidden state is one number per
# token and column, and a linear node over n equal units is n times one product. The product with
# the weight is taken first and rounded, as a full-width layer rounds what it adds up, so that
# signals vanish or overflow where they do there; hence no reordering ("reassoc") by the compiler.

_LINEAR, _BLEND, _PROD, _SUM, _TANH, _SIGMOID = range(6)
_compiled = numba.njit(cache=True, error_model="numpy")
_contracted = numba.njit(cache=True, error_model="numpy", fastmath={"contract"})


@_compiled
def _run(
    code: NDArray, states: NDArray, x: NDArray, weight: NDArray, units: NDArray
) -> NDArray[np.floating]:
    """Interpret a program for all weights, layers and steps.

    All layers take one step before any takes the next, so that what is live fits in the cache.

    Parameters
    ----------
    code, states : ndarray of int64
        See :class:`Program`.
    x : ndarray, shape (time, batch)
        Summed embeddings.
    weight : ndarray, shape (K,), dtype of `x`
    units : ndarray, shape (n_layers,), dtype of `x`

    Returns
    -------
    ndarray, shape (K, time, batch)
        The last layer's output.
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
    r = (
        x - k * 6.93147180369123816490e-01
    ) - k * 1.90821492927058770002e-10  # k ln 2, in two parts
    more = 1 / 6227020800  # Taylor's series up to r^13 / 13!
    more = more * r + 1 / 479001600
    more = more * r + 1 / 39916800
    more = more * r + 1 / 3628800
    more = more * r + 1 / 362880
    more = more * r + 1 / 40320
    more = more * r + 1 / 5040
    more = more * r + 1 / 720
    more = more * r + 1 / 120
    more = more * r + 1 / 24
    more = more * r + 1 / 6
    more = more * r + 1 / 2
    more = more * r * r + r
    power = np.int64((np.float64(shifted).view(np.int64) + 1023) << 52).view(np.float64)
    return more, power


# The full-width network ----------------------------------------------------------------------


class Network(nn.Module):
    """The network of NAS-Bench-NLP around a cell, at full width, without the decoder."""

    def __init__(self, recipe: Recipe, num_classes: int, embedding: Tensor) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.embedding = nn.Embedding.from_pretrained(embedding.clone(), freeze=False)
        self.layers = nn.Sequential(
            *(
                Layer(recipe, inputs, units)
                for inputs, units in zip((EMBEDDING, *LAYERS), LAYERS, strict=False)
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the last layer's first unit for every token."""
        h = self.layers(self.embedding(x))  # time, batch, 400
        return h[:, :, 0] if self.num_classes == 1 else h[:, :, : self.num_classes]


class LanguageModel(nn.Module):
    """A network with its decoder, whose weights are those of the embedding."""

    def __init__(self, network: Network, num_classes: int) -> None:
        super().__init__()
        self.network = network
        self.bias = nn.Parameter(torch.zeros(num_classes))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the embedding."""
        nn.init.uniform_(self.network.embedding.weight, -0.1, 0.1)
        nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of the next word for every token."""
        weight = self.network.embedding.weight[: len(self.bias)]
        return nn.functional.linear(self.network(x), weight, self.bias)


class Layer(nn.Module):
    """A recurrent layer: the cell, step by step, from a trainable initial state."""

    recurrent = True  # see epsutil.initialise: biases and initial state get the weight, too

    def __init__(self, recipe: Recipe, inputs: int, units: int) -> None:
        super().__init__()
        self.recipe = recipe
        self.order = _in_order(recipe)
        self.initial = nn.Parameter(torch.zeros(_n_states(recipe), units))
        linear = [node for node in self.order if recipe[node]["op"] == "linear"]
        self.place = {node: place for place, node in enumerate(linear)}  # in the list of modules
        self.linear = nn.ModuleList(
            MultiLinear([inputs if name == "x" else units for name in recipe[node]["input"]], units)
            for node in linear
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the first hidden state of every step."""
        states = [state.expand(x.shape[1], -1) for state in self.initial]  # batch, units
        outputs = []
        for step in x:  # batch, inputs
            values = {"x": step} | {f"h_prev_{i}": state for i, state in enumerate(states)}
            for node in self.order:
                operands = [values[name] for name in self.recipe[node]["input"]]
                values[node] = self.apply_node(node, operands)
            states = [values[f"h_new_{i}"] for i in range(len(states))]
            outputs.append(states[0])
        return torch.stack(outputs)  # time, batch, units

    def apply_node(self, node: str, operands: list[Tensor]) -> Tensor:
        """Return what a node makes of its inputs, [batch, units] each."""
        match self.recipe[node]["op"]:
            case "linear":
                return self.linear[self.place[node]](*operands)
            case "blend":
                a, b, c = operands
                return a * b + (1 - a) * c
            case "elementwise_prod":
                return operands[0] * operands[1]
            case "elementwise_sum":
                return operands[0] + operands[1]
            case "activation_tanh":
                return torch.tanh(operands[0])
            case "activation_sigm":
                return torch.sigmoid(operands[0])
            case _:
                return nn.functional.leaky_relu(operands[0], SLOPE)


class MultiLinear(nn.Module):
    """A linear map of several vectors, with one bias."""

    def __init__(self, inputs: Sequence[int], units: int) -> None:
        super().__init__()
        self.weights = nn.ParameterList(torch.empty(units, width) for width in inputs)
        self.bias = nn.Parameter(torch.empty(units))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weights and bias in torch's usual range for recurrent layers."""
        bound = len(self.bias) ** -0.5
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return the sum of the maps: [batch, width] each -> [batch, units]."""
        result = nn.functional.linear(inputs[0], self.weights[0], self.bias)
        for x, weight in zip(inputs[1:], list(self.weights)[1:], strict=True):
            result = result + nn.functional.linear(x, weight)
        return result
