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
import textwrap
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from epsutil.collapse import recurrent
from epsutil.collapse.norms import Prepared
from epsutil.names import check_known
from epsutil.spaces import nasbench_nlp_recipes as recipes
from epsutil.spaces.base import Inputs, Networks, Space, longest_path
from epsutil.spaces.nasbench_nlp_recipes import MAX_NODES, MAX_STATES, Given, Recipe

WORDS = 10_000  # in the vocabulary of Penn Treebank
EMBEDDING = 400  # units
LAYERS = (600, 600, 400)  # units; the last is tied to the embedding
SEED = 21  # of the embedding


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
        return len(recipes.texts())

    def _at(self, index: int) -> Recipe:
        return json.loads(recipes.texts()[index])

    def index(self, arch: Given) -> int:
        """Return the benchmark's index; ValueError for a recipe that it does not have."""
        text = recipes.sorted_text(self.parse(arch))
        if text not in recipes.indices():
            raise ValueError(f"not among the benchmark's {len(self):,} recipes: {text}")
        return recipes.indices()[text]

    def parse(self, text: Given) -> Recipe:
        """Check a recipe, a dict or its JSON text with its nodes in any order, and return it.

        Raises
        ------
        ValueError
            It is not of that form, has an unknown operation or input, a wrong number of inputs, a
            cycle, more than 24 nodes, or lacks a hidden state; the message names it.
        """
        recipe = recipes.read(text)
        known = {*recipe, *recipes.cell_inputs(recipe)}
        for node, what in recipe.items():
            recipes.check_node(node, what["op"], what["input"], known)
        done = recipes.in_order(recipe)
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
        return recipes.program(self.parse(arch)).key

    def structure(self, arch: Given) -> str:
        """Return a text that is equal for architectures that are the same network."""
        return self.text(arch)

    def mutate(self, arch: Given, rng: np.random.Generator) -> Recipe:
        """Change the operation of one node, or one of its inputs, drawn uniformly.

        Nodes that nothing needs any more are left out.
        """
        recipe = self.parse(arch)
        edits = recipes.edits(recipe)
        for number in rng.permutation(len(edits)):
            node, what = edits[number]
            mutant = recipes.needed(recipe | {node: what})
            acyclic = len(recipes.in_order(mutant)) == len(mutant)
            if mutant != recipe and acyclic and recipes.complete(mutant):
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
            recipe = recipes.draw(rng, n_states, int(rng.choice([7, 14, 21])))
            read = [name for i in range(n_states) for name in recipe[f"h_new_{i}"]["input"]]
            direct = any(name.startswith("h_prev_") for name in read)
            if len(recipe) <= MAX_NODES and recipes.complete(recipe) and not direct:
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
        program = recipes.program(self.parse(arch))
        inputs = self.prepare(x, dtype).values  # time, batch
        weight, units = (np.array(values, dtype=inputs.dtype) for values in (weights, LAYERS))
        rows = recurrent.run(program.code, program.states, inputs, weight, units)
        return rows.reshape(len(weight), -1)


# The recipes ---------------------------------------------------------------------------------


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
        self.order = recipes.in_order(recipe)
        self.initial = nn.Parameter(torch.zeros(recipes.n_states(recipe), units))
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
