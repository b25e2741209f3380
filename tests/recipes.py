"""Random recipes of NAS-Bench-NLP, by the benchmark's rules; for tests, without its file."""

import numpy as np

from epsutil.spaces import nasbench_nlp

ACTIVATIONS = [name for name in nasbench_nlp.OPERATIONS if name.startswith("activation")]


def generate(rng):
    """Draw a recipe.

    One to three hidden states and 7, 14 or 21 further nodes are drawn first. Every linear node,
    over two or three of the cell's inputs and activations, is followed by an activation; blends,
    sums and products take anything but ``x``. Random nodes become the hidden states, and what they
    do not need is left out. The draw is repeated until every input is used and no new hidden state
    reads an old one directly.

    References
    ----------
    Klyuchnikov et al., arXiv:2006.07116, Section 3, and the generator that they published.
    """
    while True:
        n_states = int(rng.integers(1, nasbench_nlp.MAX_STATES + 1))
        recipe = _draw(rng, n_states, int(rng.choice([7, 14, 21])))
        if (
            len(recipe) <= nasbench_nlp.MAX_NODES
            and nasbench_nlp._complete(recipe)
            and not _reads_directly(recipe, n_states)
        ):
            return recipe


def _reads_directly(recipe, n_states):
    new = [name for i in range(n_states) for name in recipe[f"h_new_{i}"]["input"]]
    return any(name.startswith("h_prev_") for name in new)


def _draw(rng, n_states, n_more):
    """Draw a recipe as the benchmark's generator does; it may miss an input of the cell."""
    previous = [f"h_prev_{i}" for i in range(n_states)]
    recipe, activations = {}, []

    def add(operation, candidates, count):
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
            (count,) = nasbench_nlp.OPERATIONS[operation]
            if count <= len(candidates):
                add(operation, candidates, count)
    chosen = rng.choice(len(recipe), n_states, replace=False)
    new = {f"node_{node}": f"h_new_{state}" for state, node in enumerate(chosen)}
    return nasbench_nlp._needed(
        {
            new.get(node, node): what | {"input": [new.get(name, name) for name in what["input"]]}
            for node, what in recipe.items()
        }
    )
