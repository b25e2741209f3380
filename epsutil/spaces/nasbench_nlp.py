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
import itertools
import json
import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from epsutil import sources
from epsutil.collapse import recurrent
from epsutil.collapse.norms import Prepared
from epsutil.names import check_known
from epsutil.spaces.base import Inputs, Networks, Space, longest_path, md5, one_line

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
SEED = 21  # of the embedding

Recipe = dict[str, dict[str, Any]]
Given = Mapping[str, Any] | str  # a recipe, or its JSON


class NASBenchNLP(Space[Recipe]):
    """The search space; an architecture is its recipe, ``{node: {"op": ..., "input": [...]}}``.

    ``space[i]`` is the recipe in row i of the benchmark's 14,322 single runs on Penn Treebank.
    Recipes that the benchmark lacks can be scored, too; see :meth:`generate`.

    Parameters
    ----------
    embedding : str
        How the embedding is drawn, one of `EMBEDDINGS` (Section 3.4), by default as in the paper.
    """

    name = "nasbench_nlp"
    VERSION = 1  # raise it when a score or a network changes, see tests/test_recorded.py
    weights = (1e-5, 1e-3)
    reads = "tokens"
    dataset = "ptb"
    zero_is_score = False

    def __init__(self, embedding: str = "") -> None:
        if embedding:
            check_known("embedding", embedding, EMBEDDINGS)
            self.name = f"{self.name}@{embedding.replace(' ', '-')}"
        self.embedding = embedding or "uniform positive 1"

    def __len__(self) -> int:
        return len(_texts())

    def _at(self, index: int) -> Recipe:
        return json.loads(_texts()[index])

    def index(self, arch: Given) -> int:
        """Return the benchmark's index; ValueError for a recipe that it does not have."""
        text = _sorted_text(self.parse(arch))
        if text not in _indices():
            raise ValueError(f"not among the benchmark's {len(self):,} recipes: {text}")
        return _indices()[text]

    def parse(self, text: Given) -> Recipe:
        """Check a recipe, a dict or its JSON text with its nodes in any order, and return it.

        Raises
        ------
        ValueError
            It is not of that form, has an unknown operation or input, a wrong number of inputs, a
            cycle, more than 24 nodes, or lacks a hidden state; the message names it.
        """
        recipe = _read(text)
        known = {*recipe, *_cell_inputs(recipe)}
        for node, what in recipe.items():
            _check_node(node, what["op"], what["input"], known)
        done = _in_order(recipe)
        if rest := ", ".join(repr(node) for node in recipe if node not in done):
            raise ValueError(f"the recipe is cyclic: {rest} wait for each other")
        return recipe

    def text(self, arch: Given) -> str:
        """Return an architecture as text that `parse` reads: its recipe as JSON."""
        return json.dumps(self.parse(arch))

    def describe(self, arch: Given) -> str:
        """Return the cell's normal form, see :meth:`key`, in lines of at most 60 characters."""
        return "\n".join(textwrap.wrap(self.key(arch), 60))

    def key(self, arch: Given) -> str:
        """Return a text that is equal for architectures that compute the same function.

        It lists the nodes that the output needs, each distinct expression once and in a fixed
        order, with the inputs of sums, products and linear nodes sorted: under shared weights they
        commute. The names of nodes, and of hidden states after the first, do not matter.

        That of a plain recurrent network is ``a=linear(h0,x); b=tanh(a); h0=b``.
        """
        return _program(self.parse(arch)).key

    def structure(self, arch: Given) -> str:
        """Return a text that is equal for architectures that are the same network."""
        return self.text(arch)

    def mutate(self, arch: Given, rng: np.random.Generator) -> Recipe:
        """Change the operation of one node, or one of its inputs, drawn uniformly.

        Nodes that nothing needs any more are left out.
        """
        recipe = self.parse(arch)
        edits = _edits(recipe)
        for number in rng.permutation(len(edits)):
            node, what = edits[number]
            mutant = _needed(recipe | {node: what})
            acyclic = len(_in_order(mutant)) == len(mutant)
            if mutant != recipe and acyclic and _complete(mutant):
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
            n_states = int(rng.integers(1, MAX_STATES + 1))
            recipe = _draw(rng, n_states, int(rng.choice([7, 14, 21])))
            read = [name for i in range(n_states) for name in recipe[f"h_new_{i}"]["input"]]
            direct = any(name.startswith("h_prev_") for name in read)
            if len(recipe) <= MAX_NODES and _complete(recipe) and not direct:
                return recipe

    def depth(self, arch: Given) -> int:
        """Count the linear layers on the longest path to a cell's last hidden state."""
        recipe = self.parse(arch)
        nodes = recipe.items()
        edges = [(u, v, node["op"] == "linear") for v, node in nodes for u in node["input"]]
        return longest_path(edges, max(node for node in recipe if node.startswith("h_new")))

    def parameters(self, arch: Given) -> int:
        """Count the trainable parameters of the benchmark's network.

        That is the embedding, which the decoder shares, the three layers, with nodes that the
        output does not need, and the decoder's 10,000 biases.
        """
        linear = [what["input"] for what in self.parse(arch).values() if what["op"] == "linear"]
        count = WORDS * EMBEDDING + WORDS
        for inputs, units in itertools.pairwise((EMBEDDING, *LAYERS)):
            for names in linear:
                count += units * (sum(inputs if name == "x" else units for name in names) + 1)
        return count

    def build(self, arch: Given, num_classes: int = 1) -> nn.Module:
        """Build the full-width network, its embedding drawn, its layers in torch's usual range.

        It takes token numbers, a LongTensor of shape (time, batch), and returns the last layer's
        first unit for each; for several `num_classes` so many units: (time, batch, num_classes).
        """
        return Network(self.parse(arch), num_classes, _embedding(self.embedding))

    @property
    def variants(self) -> Networks:
        """The network as it was trained, with its decoder; returns logits of the word to follow."""
        return {"language_model": LanguageModel}

    def prepare(self, x: Inputs, dtype: str | None = None) -> Prepared:
        """Sum the embeddings of tokens, see :meth:`Space.prepare`."""
        self.check_dtype(dtype)
        reader = f"tokens with the embedding {self.embedding!r}"
        if isinstance(x, Prepared):
            return x.checked(dtype, reader)
        dtype = dtype or "float32"
        return Prepared(_token_sums(self.embedding)[_tokens(x)].astype(dtype), dtype, reader)

    def outputs(
        self, arch: Given, x: Inputs, weights: Sequence[float], dtype: str | None = None
    ) -> NDArray[np.floating]:
        """Evaluate by width collapse, see :meth:`Space.outputs`: [len(weights), time * batch]."""
        program = _program(self.parse(arch))
        inputs = self.prepare(x, dtype).values  # time, batch
        weight, units = (np.array(values, dtype=inputs.dtype) for values in (weights, LAYERS))
        rows = recurrent.run(program.code, program.states, inputs, weight, units)
        return rows.reshape(len(weight), -1)


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
    count = sum(_state(node, "h_new_") is not None for node in recipe)
    for node in (f"h_new_{state}" for state in range(count or 1)):
        if node not in recipe:
            raise ValueError(f"the recipe has no node {node!r}: a hidden state is missing")
    if count > MAX_STATES:
        raise ValueError(f"{count} hidden states; at most {MAX_STATES} are allowed")
    return count


def _cell_inputs(recipe: Recipe) -> list[str]:
    return [*(f"h_prev_{state}" for state in range(_n_states(recipe))), "x"]


def _check_node(node: str, operation: str, inputs: list[str], known: set[str]) -> None:
    if node == "x" or _state(node, "h_prev_") is not None:
        raise ValueError(f"{node!r} is an input of the cell and cannot be a node")
    check_known("operation", operation, OPERATIONS, f" of node {node!r}")
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
    """Sort the nodes so that each comes after its inputs; what waits for a cycle is left out."""
    done: dict[str, None] = {}
    while ready := [
        node
        for node, what in recipe.items()
        if node not in done and all(name in done or name not in recipe for name in what["input"])
    ]:
        done |= dict.fromkeys(ready)
    return list(done)


# Recipes by chance ---------------------------------------------------------------------------


def _draw(rng: np.random.Generator, n_states: int, n_more: int) -> Recipe:
    """Draw a recipe as the benchmark's generator does; it may miss an input of the cell."""
    previous = [f"h_prev_{i}" for i in range(n_states)]
    recipe: Recipe = {}
    activations: list[str] = []

    def add(operation: str, candidates: list[str], count: int) -> str:
        node = f"node_{len(recipe)}"
        chosen = rng.choice(len(candidates), count, replace=False)
        recipe[node] = {"op": operation, "input": [candidates[i] for i in chosen]}
        return node

    functions = [name for name in OPERATIONS if name.startswith("activation")]
    others = [name for name in OPERATIONS if name not in functions]
    while len(recipe) < n_states + n_more:
        operation = str(rng.choice(others, p=np.array([3, 1, 1, 1]) / 6))
        if operation == "linear":
            count = int(rng.choice([2, 3], p=[0.8, 0.2]))
            candidates = ["x", *previous, *activations]
            linear = add("linear", candidates, min(count, len(candidates)))
            activations.append(add(str(rng.choice(functions)), [linear], 1))
        else:
            candidates = [*previous, *recipe]
            (count,) = OPERATIONS[operation]
            if count <= len(candidates):
                add(operation, candidates, count)
    chosen = rng.choice(len(recipe), n_states, replace=False)
    new = {f"node_{node}": f"h_new_{state}" for state, node in enumerate(chosen)}
    return _needed(
        {
            new.get(node, node): what | {"input": [new.get(name, name) for name in what["input"]]}
            for node, what in recipe.items()
        }
    )


# Neighbours ----------------------------------------------------------------------------------


def _reached(recipe: Recipe, start: list[str]) -> list[str]:
    """List nodes and all that they need, inputs of the cell included."""
    reached = list(start)
    for node in reached:  # grows as it goes
        inputs = recipe[node]["input"] if node in recipe else ()
        reached += [name for name in dict.fromkeys(inputs) if name not in reached]
    return reached


def _needed(recipe: Recipe) -> Recipe:
    """Leave out the nodes that no hidden state needs."""
    reached = _reached(recipe, [f"h_new_{state}" for state in range(_n_states(recipe))])
    return {node: what for node, what in recipe.items() if node in reached}


def _complete(recipe: Recipe) -> bool:
    """Return whether the cell uses all its inputs."""
    used = {name for what in recipe.values() for name in what["input"]}
    return {*_cell_inputs(recipe)} <= used


def _edits(recipe: Recipe) -> list[tuple[str, dict[str, Any]]]:
    """List all nodes with one thing changed; some edits make a cycle."""
    names, edits = [*recipe, *_cell_inputs(recipe)], []
    for node, before in recipe.items():
        operation, inputs = before["op"], before["input"]
        changed = [
            {"op": other, "input": inputs}
            for other, counts in OPERATIONS.items()
            if other != operation
            and len(inputs) in counts
            and (other == "linear" or "x" not in inputs)
        ]
        changed += [
            {"op": operation, "input": [*inputs[:place], name, *inputs[place + 1 :]]}
            for place in range(len(inputs))
            for name in names
            if name not in (*inputs, node) and (operation == "linear" or name != "x")
        ]
        edits += [(node, what) for what in changed]
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
        reached = _reached(recipe, [f"h_new_{state}"])
        found = [other for other in range(_n_states(recipe)) if f"h_prev_{other}" in reached]
        states += [other for other in found if other not in states]
    return states


def _ordered_program(recipe: Recipe, order: Sequence[int]) -> Program:
    """Write a cell in its normal form, with its hidden states in the given order."""
    digests = {"x": "x"} | {f"h_prev_{state}": f"h{i}" for i, state in enumerate(order)}
    for node in _in_order(recipe):  # equal digests for equal expressions
        operation, inputs = recipe[node]["op"], recipe[node]["input"]
        parts = [digests.get(name, name) for name in inputs]
        digests[node] = md5(f"{operation}{sorted(parts) if operation in _COMMUTE else parts}")

    labels = ["x", *(f"h{i}" for i in range(len(order)))]  # of the registers
    registers = {label: register for register, label in enumerate(labels)}  # by digest
    code: list[list[int]] = []
    lines: list[str] = []

    def register_of(node: str) -> int:
        """Return the register of a node; write the instructions for it unless they are there."""
        if digests[node] not in registers:
            operation, inputs = recipe[node]["op"], recipe[node]["input"]
            if operation in _COMMUTE:
                inputs = sorted(inputs, key=digests.__getitem__)
            read = [register_of(name) for name in inputs]
            registers[digests[node]] = len(labels)
            labels.append(chr(ord("a") + len(code)))
            code.append([_CODES[operation], *read, *[-1] * (3 - len(read))])
            short = operation.removeprefix("activation_").removeprefix("elementwise_")
            lines.append(f"{labels[-1]}={short}({','.join(labels[i] for i in read)})")
        return registers[digests[node]]

    states = [register_of(f"h_new_{state}") for state in order]
    lines += [f"h{i}={labels[register]}" for i, register in enumerate(states)]
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


# The full-width network ----------------------------------------------------------------------


class Network(nn.Module):
    """The network of NAS-Bench-NLP around a cell, at full width, without the decoder."""

    def __init__(self, recipe: Recipe, num_classes: int, embedding: Tensor) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.embedding = nn.Embedding.from_pretrained(embedding.clone(), freeze=False)
        widths = itertools.pairwise((EMBEDDING, *LAYERS))
        self.layers = nn.Sequential(*(Layer(recipe, inputs, units) for inputs, units in widths))

    def forward(self, x: Tensor) -> Tensor:
        """Return the last layer's first unit for every token."""
        h = self.layers(self.embedding(x))  # time, batch, 400
        return h[:, :, 0] if self.num_classes == 1 else h[:, :, : self.num_classes]


class LanguageModel(nn.Module):
    """A network with its decoder, whose weights are those of the embedding.

    The embedding is uniform on [-0.1, 0.1], as in the benchmark's training, not what epsilon needs.
    It takes token numbers (time, batch) and returns logits (time, batch, num_classes).
    """

    def __init__(self, recipe: Recipe, num_classes: int = WORDS) -> None:
        super().__init__()
        self.network = Network(recipe, LAYERS[-1], torch.empty(WORDS, EMBEDDING))
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


_FUNCTIONS: dict[str, Callable[..., Tensor]] = {  # of all operations but linear
    "blend": lambda a, b, c: a * b + (1 - a) * c,
    "elementwise_prod": torch.mul,
    "elementwise_sum": torch.add,
    "activation_tanh": torch.tanh,
    "activation_sigm": torch.sigmoid,
    "activation_leaky_relu": lambda a: nn.functional.leaky_relu(a, recurrent.SLOPE),
}


class Layer(nn.Module):
    """A recurrent layer: the cell, step by step, from a trainable initial state."""

    recurrent = True  # see epsutil.initialise: biases and initial state get the weight, too

    def __init__(self, recipe: Recipe, inputs: int, units: int) -> None:
        super().__init__()
        self.recipe = recipe
        self.order = _in_order(recipe)
        self.initial = nn.Parameter(torch.zeros(_n_states(recipe), units))
        self.linear = nn.ModuleList(
            MultiLinear([inputs if name == "x" else units for name in recipe[node]["input"]], units)
            for node in self.order
            if recipe[node]["op"] == "linear"
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the first hidden state of every step."""
        states = [state.expand(x.shape[1], -1) for state in self.initial]  # batch, units
        outputs = []
        for step in x:  # batch, inputs
            values = {"x": step} | {f"h_prev_{i}": state for i, state in enumerate(states)}
            linear = iter(self.linear)
            for node in self.order:
                operands = [values[name] for name in self.recipe[node]["input"]]
                operation = self.recipe[node]["op"]
                function = next(linear) if operation == "linear" else _FUNCTIONS[operation]
                values[node] = function(*operands)
            states = [values[f"h_new_{i}"] for i in range(len(states))]
            outputs.append(states[0])
        return torch.stack(outputs)  # time, batch, units


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
