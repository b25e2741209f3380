"""The recipes of NAS-Bench-NLP: read and checked, drawn, edited, and put into normal form.

What a recipe is says :mod:`epsutil.spaces.nasbench_nlp`.
"""

import functools
import itertools
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from epsutil import sources
from epsutil.names import check_known
from epsutil.spaces.base import md5, one_line

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
Recipe = dict[str, dict[str, Any]]
Given = Mapping[str, Any] | str  # a recipe, or its JSON


@functools.cache
def texts() -> tuple[str, ...]:
    """All recipes of the benchmark's single runs, in the order of the file."""
    file = sources.path("nas-bench-nlp/ptb_single_run.csv.gz")
    return tuple(pd.read_csv(file, usecols=["recepie"])["recepie"])


@functools.cache
def indices() -> dict[str, int]:
    """Return the index of each recipe, by its sorted text."""
    return {sorted_text(json.loads(text)): index for index, text in enumerate(texts())}


def sorted_text(recipe: Recipe) -> str:
    """Return a text that is equal for equal recipes."""
    return json.dumps(recipe, sort_keys=True)


def read(text: Any) -> Recipe:
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


def n_states(recipe: Recipe) -> int:
    """Count the hidden states, which must be numbered from 0."""
    count = sum(_state(node, "h_new_") is not None for node in recipe)
    for node in (f"h_new_{state}" for state in range(count or 1)):
        if node not in recipe:
            raise ValueError(f"the recipe has no node {node!r}: a hidden state is missing")
    if count > MAX_STATES:
        raise ValueError(f"{count} hidden states; at most {MAX_STATES} are allowed")
    return count


def cell_inputs(recipe: Recipe) -> list[str]:
    """Return the names of a cell's inputs."""
    return [*(f"h_prev_{state}" for state in range(n_states(recipe))), "x"]


def check_node(node: str, operation: str, inputs: list[str], known: set[str]) -> None:
    """Raise a ValueError where a node is not one of a recipe."""
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


def in_order(recipe: Recipe) -> list[str]:
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


def draw(rng: np.random.Generator, n_states: int, n_more: int) -> Recipe:
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
    return needed(
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


def needed(recipe: Recipe) -> Recipe:
    """Leave out the nodes that no hidden state needs."""
    reached = _reached(recipe, [f"h_new_{state}" for state in range(n_states(recipe))])
    return {node: what for node, what in recipe.items() if node in reached}


def complete(recipe: Recipe) -> bool:
    """Return whether the cell uses all its inputs."""
    used = {name for what in recipe.values() for name in what["input"]}
    return {*cell_inputs(recipe)} <= used


def edits(recipe: Recipe) -> list[tuple[str, dict[str, Any]]]:
    """List all nodes with one thing changed; some edits make a cycle."""
    names, edits = [*recipe, *cell_inputs(recipe)], []
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


def program(recipe: Recipe) -> Program:
    """Write a cell in its normal form; hidden states after the first have no order of their own."""
    states = _used_states(recipe)
    orders = [(states[0], *rest) for rest in itertools.permutations(states[1:])]
    return min((_ordered_program(recipe, order) for order in orders), key=lambda p: p.key)


def _used_states(recipe: Recipe) -> list[int]:
    """Return the hidden states that the output depends on, sooner or later; the output is 0."""
    states = [0]
    for state in states:  # grows as it goes
        reached = _reached(recipe, [f"h_new_{state}"])
        found = [other for other in range(n_states(recipe)) if f"h_prev_{other}" in reached]
        states += [other for other in found if other not in states]
    return states


def _ordered_program(recipe: Recipe, order: Sequence[int]) -> Program:
    """Write a cell in its normal form, with its hidden states in the given order."""
    digests = {"x": "x"} | {f"h_prev_{state}": f"h{i}" for i, state in enumerate(order)}
    for node in in_order(recipe):  # equal digests for equal expressions
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
