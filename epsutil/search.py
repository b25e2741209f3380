"""Search on a table: which networks an algorithm would have trained, and how good they are.

A search sees a **signal** of the networks that it trains (accuracy on validation images, say), and
may see a **score** of any network, which costs no training. It never sees the **result** (accuracy
on test images), which :func:`curves` adds afterwards. All three are vectors with one number for
each architecture of a space, more is better; a score of NaN is none. An architecture is its
position in these vectors. To move in the space, a search needs a :class:`Neighbourhood`. What is
unknown or does not fit is a ValueError that names it.

Every search returns a **history**, an array of int of shape [rounds, steps]: which architecture
each round trained at each step. A network that is trained twice is paid for twice. All rounds run
at once; each has its own stream of random numbers, so that it does not depend on their number.

References
----------
Gracheva, *Neural Architecture Search via Two Constant Shared Weights Initialisations*,
arXiv:2302.04406v2, Section 2.2. Real et al., *Regularized Evolution for Image Classifier
Architecture Search*, AAAI 2019. Abdelfattah et al., *Zero-Cost Proxies for Lightweight NAS*, ICLR
2021. Dong and Yang, *NAS-Bench-201*, ICLR 2020. Williams, *Simple Statistical Gradient-Following
Algorithms for Connectionist Reinforcement Learning*, Machine Learning 8, 1992. Falkner et al.,
*BOHB: Robust and Efficient Hyperparameter Optimization at Scale*, ICML 2018.
"""

import re
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import optuna
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.distance import cdist

from epsutil.names import UNSCORED as UNSCORED
from epsutil.names import check_known, check_seed, check_whole
from epsutil.spaces import Space
from epsutil.statistics import numbers

WARM_UP = ("first", "all")
MUTATIONS = ("node first", "uniform")
MOVES = ("signal", "score", "best neighbour")
STOPS = (12, 36, 108, 200)  # epochs after which Hyperband may stop a training; see `bohb`
_FIRST = 64  # networks that a random search with warm-up takes from the pool; see `random`

Archs = NDArray[np.int64]
Floats = NDArray[np.float64]


class Curves(NamedTuple):
    """The results of a search after each step, both of shape [rounds, steps]."""

    oracle: Floats  # the best result so far, which nobody knows who has not tested every network
    honest: Floats  # the result of the network with the best signal so far


class Scored(NamedTuple):
    """What a search knows of networks before training; made by :func:`scored`."""

    values: Floats  # of all architectures, none NaN
    drawn: Archs  # the architectures that may be drawn for a pool


class Streams:
    """A stream of random numbers for each round; the first are the same, however many there are."""

    def __init__(self, seed: int, rounds: int) -> None:
        check_whole(1, rounds=rounds)
        check_seed(seed)
        self._generators = np.random.default_rng(seed).spawn(rounds)

    def uniform(self, *shape: int) -> Floats:
        """Return the next numbers from [0, 1), of shape [rounds, *shape]."""
        return np.stack([generator.random(shape) for generator in self._generators])

    def choice(self, candidates: Archs, *shape: int) -> Archs:
        """Return candidates drawn with replacement, of shape [rounds, *shape]."""
        return candidates[(self.uniform(*shape) * len(candidates)).astype(np.int64)]


class Neighbourhood:
    """The architectures that one change leads to, and how likely each change is.

    Parameters
    ----------
    table : array_like of int, shape [architectures, changes]
        The neighbours of each architecture, one or more others; -1 fills up the shorter rows.
    chance : array_like of float, shape [changes] or [architectures, changes]
        In proportion to these, by default all alike.

    Examples
    --------
    Five architectures in a ring, each with two neighbours:

    >>> ring = Neighbourhood([[4, 1], [0, 2], [1, 3], [2, 4], [3, 0]])
    >>> ring.mutate(np.array([0, 0]), np.array([0.2, 0.7]))
    array([4, 1])
    >>> ring.best(np.array([0]), score=np.array([0.1, 0.9, 0.4, 0.3, 0.2]))
    array([1])
    """

    def __init__(self, table: ArrayLike, chance: ArrayLike = 1.0) -> None:
        self.table = np.asarray(table, np.int64)
        exists = self.table >= 0
        own = self.table == np.arange(len(self.table))[:, None]
        if own.any() or self.table.max(initial=-1) >= len(self.table):
            raise ValueError("a neighbour must be another of the architectures")
        if not ((chances := numbers(chance, "chance")) >= 0).all():
            raise ValueError("a chance is a number from 0")
        total = np.where(exists, chances, 0.0).cumsum(axis=1)
        if not (total[:, -1] > 0).all():
            raise ValueError(f"architecture {int((total[:, -1] <= 0).argmax())} has no neighbour")
        self._cumulative = total / total[:, -1:]

    def __len__(self) -> int:
        return len(self.table)

    def mutate(self, archs: Archs, uniform: Floats) -> Archs:
        """Return a neighbour of each architecture, chosen by a number from [0, 1) for each."""
        change = (uniform[:, None] >= self._cumulative[archs]).sum(axis=1)
        return self.table[archs, change]

    def best(self, archs: Archs, score: Floats) -> Archs:
        """Return the best scored neighbour of each architecture, the first where several are."""
        near = self.table[archs]
        return near[np.arange(len(archs)), np.where(near < 0, -np.inf, score[near]).argmax(axis=1)]


@dataclass(frozen=True)
class Edits:
    """Neighbours that a :class:`~epsutil.spaces.Space` finds by mutation: too many to list them.

    Examples
    --------
    >>> from epsutil import spaces
    >>> graphs = Edits(spaces.get("nasbench101"))
    >>> len(graphs), len(graphs.mutate(np.array([0, 1]), np.array([0.2, 0.7])))
    (423624, 2)
    """

    space: Space

    def __len__(self) -> int:
        return len(self.space)

    def mutate(self, archs: Archs, uniform: Floats) -> Archs:
        """Return a neighbour of each architecture, as :meth:`Neighbourhood.mutate` does."""
        mutants = [
            self.space.mutate(self.space[int(arch)], np.random.default_rng(int(number * 2**53)))
            for arch, number in zip(archs, uniform, strict=True)
        ]
        return np.array([self.space.index(mutant) for mutant in mutants], np.int64)


@dataclass(frozen=True)
class Choices:
    """A space whose architectures are all combinations of a few choices, as NAS-Bench-201's are.

    Parameters
    ----------
    options : ndarray of int, shape [architectures, choices]
        What an architecture takes for each, counted from 0. Each combination is there once.
    groups : sequence of int, optional
        Which group a choice is in, such as the node that an edge leads to.

    Examples
    --------
    All six combinations of a first choice of three options and a second of two:

    >>> choices = Choices(np.array([(first, second) for first in range(3) for second in range(2)]))
    >>> choices.sizes
    (3, 2)
    >>> choices.index(np.array([[2, 0]]))
    array([4])
    >>> choices.neighbourhood().table[0]
    array([2, 4, 1])
    """

    options: NDArray[np.int64]
    groups: Sequence[int] | None = None

    def __post_init__(self) -> None:
        codes = np.sort(self._codes(self.options))
        if not np.array_equal(codes, np.arange(np.prod(self.sizes))):
            raise ValueError("these are not all combinations of some choices, each exactly once")

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """How many options each choice has."""
        return tuple(int(size) for size in self.options.max(axis=0) + 1)

    def _codes(self, options: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.ravel_multi_index(tuple(np.moveaxis(options, -1, 0)), self.sizes)

    def index(self, options: NDArray[np.int64]) -> Archs:
        """Return the architectures that take some options, of shape [..., choices]."""
        return self._of_code[self._codes(options)]

    @cached_property
    def _of_code(self) -> Archs:
        return np.argsort(self._codes(self.options))

    def neighbourhood(self, mutation: str = "uniform") -> Neighbourhood:
        """Return the architectures that differ in one choice.

        All are equally likely; or, "node first", a group is drawn first and then a choice in it, as
        in the paper's code, where so the one edge of the first node changes most often.
        """
        check_known("mutation", mutation, MUTATIONS)
        tables, chances = [], []
        groups = np.arange(len(self.sizes)) if self.groups is None else np.asarray(self.groups)
        for choice, size in enumerate(self.sizes):
            for shift in range(1, size):
                changed = self.options.copy()
                changed[:, choice] = (changed[:, choice] + shift) % size
                tables.append(self.index(changed))
                chance = 1 / (groups == groups[choice]).sum() / (size - 1)
                chances.append(1.0 if mutation == "uniform" else chance)
        return Neighbourhood(np.stack(tables, axis=1), chances)


def cell_choices(archs: Sequence[str]) -> Choices:
    """Return NAS-Bench-201's choices: an operation for each of six edges, grouped by their end.

    `archs` are all architectures, ``|op~0|+|op~0|op~1|+|op~0|op~1|op~2|``.

    Examples
    --------
    >>> from epsutil import spaces
    >>> cell_choices(spaces.get("nasbench201")[:]).sizes
    (5, 5, 5, 5, 5, 5)
    """
    names = np.array([re.findall(r"[^|+~]+(?=~)", arch) for arch in archs])
    groups = [number for number, node in enumerate(archs[0].split("+")) for _ in range(number + 1)]
    _, options = np.unique(names, return_inverse=True)
    return Choices(options.reshape(names.shape), groups)


def of_recipes(recipes: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Count what NAS-Bench-NLP's recipes are made of, so that their distance can be told.

    Returns a row per recipe: nodes by their operation; edges by what they come from (an operation,
    the input, an old hidden state) and the operation that they lead to; new hidden states by their
    operation.

    Examples
    --------
    >>> cell = {"a": {"op": "linear", "input": ["x", "h_prev_0"]}}
    >>> cell["h_new_0"] = {"op": "activation_tanh", "input": ["a"]}
    >>> of_recipes([cell])[["linear", ("x", "linear"), ("linear", "activation_tanh")]]
       linear  (x, linear)  (linear, activation_tanh)
    0     1.0          1.0                        1.0
    """
    rows = []
    for recipe in recipes:
        counts = Counter[Any](node["op"] for node in recipe.values())
        for name, node in recipe.items():
            for given in node["input"]:  # h_prev_0, h_prev_1 and h_prev_2 are the same
                kind = recipe[given]["op"] if given in recipe else given.partition("_")[0]
                counts[kind, node["op"]] += 1
            if name.startswith("h_new_"):
                counts[node["op"], "new state"] += 1
        rows.append(counts)
    return pd.DataFrame(rows, dtype=float).fillna(0)


def nearest(points: ArrayLike, k: int) -> Neighbourhood:
    """Return the `k` nearest others of each architecture, one or more, all equally likely.

    `points`, integers of shape [architectures, counts], are such as :func:`of_recipes` gives. Their
    distance is the sum of absolute differences (L1). Of equally near ones those come first that
    follow in the order of the points, after whose end the beginning follows.

    Examples
    --------
    >>> nearest(np.array([[0.0], [1.0], [3.0], [1.0]]), 2).table
    array([[1, 3],
           [3, 0],
           [3, 1],
           [1, 0]])
    """
    points = np.asarray(points, float)
    n, rows = len(points), []
    if not 1 <= k < n:
        raise ValueError(f"{k} neighbours of {n:,} architectures: give from 1 to {n - 1:,}")
    for start in range(0, n, 500):  # a part of the distances at a time
        own = np.arange(start, min(start + 500, n))[:, None]
        after = (np.arange(n) - own) % n  # 0 for the point itself
        order = cdist(points[own[:, 0]], points, "cityblock") * n + after
        np.put_along_axis(order, own, np.inf, axis=1)
        some = np.argpartition(order, k - 1, axis=1)[:, :k]
        inner = np.argsort(np.take_along_axis(order, some, axis=1), axis=1)
        rows.append(np.take_along_axis(some, inner, axis=1))
    return Neighbourhood(np.concatenate(rows))


# Scores --------------------------------------------------------------------------------------


def goodness(loss: pd.Series, worst: float) -> pd.Series:
    """Return minus a loss; what is missing or larger counts as `worst`, as of a poor guess.

    Examples
    --------
    >>> goodness(pd.Series([4.5, float("nan"), 12.0]), worst=9.2).tolist()
    [-4.5, -9.2, -9.2]
    """
    return -loss.fillna(worst).clip(upper=worst)


def scored(score: ArrayLike, unscored: str = "worst", among: ArrayLike | None = None) -> Scored:
    """Say what stands in for missing scores, and what a search may draw.

    Parameters
    ----------
    score : array_like of float
        Of all architectures, NaN where there is none.
    unscored : {"worst", "zero", "left out"}
        What stands in for a missing score: less than all others; 0, as in the paper's code; or
        less than all others, and it is not drawn either. Mutation may still find it.
    among : array_like of int, optional
        The architectures that the score was computed for, if not all; no others are drawn.

    Examples
    --------
    >>> scored([0.1, float("nan"), 0.4], unscored="left out")
    Scored(values=array([ 0.1, -inf,  0.4]), drawn=array([0, 2]))
    """
    check_known("choice of unscored", unscored, UNSCORED)
    score = _vector(score, "score")
    places = numbers(np.arange(len(score)) if among is None else among, "among")
    if not np.isin(places, np.arange(len(score))).all() or np.asarray(among).dtype == bool:
        raise ValueError(f"among holds other things than positions from 0 to {len(score) - 1}")
    drawn = places.astype(np.int64)
    if unscored == "left out":
        drawn = drawn[~np.isnan(score[drawn])]
    if not len(drawn) or np.isnan(score).all():
        raise ValueError("no architecture has a score")
    return Scored(np.where(np.isnan(score), 0.0 if unscored == "zero" else -np.inf, score), drawn)


def pick(score: Scored, n: int, rounds: int, seed: int) -> Archs:
    """Take the best scored of `n` random architectures, drawn with replacement, in each round.

    Of several that are best it is the first drawn.

    Examples
    --------
    Four times the best scored of three of these:

    >>> pick(scored([0.1, 0.5, 0.4, 0.9, 0.2]), 3, rounds=4, seed=0)
    array([3, 3, 3, 1])
    """
    check_whole(1, n=n)
    return _best_of_pool(Streams(seed, rounds), score, n, 1)[:, 0]


# Searches ------------------------------------------------------------------------------------


def random(
    n_archs: int,
    rounds: int,
    steps: int,
    seed: int,
    score: Scored | None = None,
    pool: int = 3000,
    warm_up: str = "first",
) -> Archs:
    """Train random architectures, with a score the best scored of a pool before all others.

    Parameters
    ----------
    n_archs : int
        The size of the space.
    score : Scored, optional
        Without it, nothing is known before training.
    pool : int
        How many are drawn and scored.
    warm_up : {"first", "all"}
        Whether the pool gives the first 64 (the paper's text) or all (its code), best first.

    Examples
    --------
    With a score, the best scored of the pool are trained first:

    >>> random(5, rounds=1, steps=3, seed=0, score=scored([0.1, 0.5, 0.4, 0.9, 0.2]), pool=5)
    array([[3, 2, 4]])
    """
    check_known("choice of warm_up", warm_up, WARM_UP)
    check_whole(1, n_archs=n_archs, steps=steps)
    streams = Streams(seed, rounds)
    history = streams.choice(np.arange(n_archs), steps)
    if score is not None:
        _check_score(score, n_archs)
        count = min(steps, _FIRST) if warm_up == "first" else steps
        history[:, :count] = _best_of_pool(streams, score, pool, count)
    return history


def evolve(
    signal: Floats,
    neighbourhood: Neighbourhood | Edits,
    rounds: int,
    steps: int,
    seed: int,
    population: int = 64,
    tournament: int = 10,
    replacement: bool = False,
    score: Scored | None = None,
    pool: int = 0,
    move: str = "signal",
) -> Archs:
    """Ageing evolution: each step trains a neighbour of the best of a few of the youngest.

    The first `population` are random. A tournament is among the `population` youngest; `signal` is
    read only for what is trained.

    Parameters
    ----------
    neighbourhood : Neighbourhood or Edits
        The latter knows no best neighbour.
    replacement : bool
        Whether the same one may enter a tournament twice.
    pool : int
        With warm-up, how many are scored; the best are the first population. 0 is no warm-up.
    move : {"signal", "score", "best neighbour"}
        How a parent and its child are chosen. The winner has the best signal, or, as in the
        paper's "move", the best score; the child is a random neighbour. Or, as in zero-cost-nas'
        "move", the signal chooses, and in three of four cases the child is the best neighbour.

    Examples
    --------
    A ring of twenty architectures whose accuracy rises and falls; evolution climbs:

    >>> accuracy = 90 - abs(np.arange(20) - 12.0)
    >>> ring = Neighbourhood([[(i - 1) % 20, (i + 1) % 20] for i in range(20)])
    >>> history = evolve(accuracy, ring, rounds=50, steps=40, seed=0, population=5, tournament=3)
    >>> [float(accuracy[part].mean().round(1)) for part in (history[:, :5], history[:, -5:])]
    [84.7, 88.9]
    """
    check_known("move", move, MOVES)
    if score is None and (pool or move != "signal"):
        raise ValueError("warm-up and moving by score need a score")
    if isinstance(neighbourhood, Edits) and move == "best neighbour":
        raise ValueError("the best neighbour needs a Neighbourhood, which lists them all")
    check_whole(1, tournament=tournament, population=population, steps=steps)
    check_whole(0, pool=pool)
    if score is not None:
        _check_score(score, len(neighbourhood))
    if tournament > population and not replacement:
        raise ValueError(f"a tournament of {tournament} needs a population of as many")
    if steps < population:
        raise ValueError(f"{steps} steps do not train the first population of {population}")
    streams, signal = Streams(seed, rounds), _vector(signal, "signal")
    compared = score.values if score is not None and move == "score" else signal
    history, fitness = np.empty((rounds, steps), np.int64), np.empty((rounds, steps))
    if pool and score is not None:
        history[:, :population] = _best_of_pool(streams, score, pool, population)
    else:
        history[:, :population] = streams.choice(np.arange(len(neighbourhood)), population)
    fitness[:, :population] = _read(compared, history[:, :population])
    keys = streams.uniform(steps - population, tournament if replacement else population)
    changes = streams.uniform(steps - population, 2)
    for step in range(population, steps):
        key, (change, coin) = keys[:, step - population], changes[:, step - population].T
        if replacement:
            entrants = (key * population).astype(np.int64)
        else:
            entrants = np.argsort(key, axis=1)[:, :tournament]
        entrants += step - population  # the oldest that is still there
        winner = _take(entrants, np.take_along_axis(fitness, entrants, axis=1).argmax(axis=1))
        parent = _take(history, winner)
        child = neighbourhood.mutate(parent, change)
        if score is not None and isinstance(neighbourhood, Neighbourhood) and move == MOVES[2]:
            child = np.where(coin < 0.75, neighbourhood.best(parent, score.values), child)
        history[:, step], fitness[:, step] = child, _read(compared, child)
    return history


def reinforce(
    signal: Floats,
    choices: Choices,
    rounds: int,
    steps: int,
    seed: int,
    learning_rate: float = 0.01,
    momentum: float = 0.9,
) -> Archs:
    """REINFORCE: learn how likely each option of each choice should be, by Adam.

    `momentum` is of the moving average of signals that a signal is compared with.

    Examples
    --------
    The best of six combinations has the highest options. It is what the search comes to train:

    >>> options = np.array([(first, second) for first in range(3) for second in range(2)])
    >>> accuracy = 90.0 + options.sum(axis=1)
    >>> history = reinforce(accuracy, Choices(options), 100, 300, seed=0, learning_rate=0.1)
    >>> [float(accuracy[part].mean().round(1)) for part in (history[:, :20], history[:, -20:])]
    [91.9, 93.0]
    """
    check_whole(1, steps=steps)
    if not (0 < learning_rate < np.inf and 0 <= momentum < 1):
        given = f"a learning rate of {learning_rate} and a momentum of {momentum}"
        raise ValueError(f"{given}: the former is above 0, the latter from 0 to below 1")
    signal = _vector(signal, "signal")
    sizes = np.array(choices.sizes)
    allowed = np.arange(sizes.max()) < sizes[:, None]  # choices, options
    logits = np.where(allowed, 0.0, -np.inf) + np.zeros((rounds, 1, 1))
    first, second = np.zeros(logits.shape), np.zeros(logits.shape)  # Adam's moments
    average, weight = np.zeros(rounds), 0.0
    uniform = Streams(seed, rounds).uniform(steps, len(sizes))
    history = np.empty((rounds, steps), np.int64)
    for step in range(steps):
        likely = np.exp(logits - logits.max(axis=2, keepdims=True))
        likely /= likely.sum(axis=2, keepdims=True)
        options = (uniform[:, step, :, None] >= likely.cumsum(axis=2)).sum(axis=2)
        options = np.minimum(options, sizes - 1)
        history[:, step] = choices.index(options)
        reward = _read(signal, history[:, step])
        average = momentum * average + (1 - momentum) * reward
        weight = momentum * weight + (1 - momentum)
        taken = np.arange(sizes.max()) == options[:, :, None]
        gradient = (reward - average / weight)[:, None, None] * (taken - likely)
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        unbiased = first / (1 - 0.9 ** (step + 1)), second / (1 - 0.999 ** (step + 1))
        logits = logits + learning_rate * unbiased[0] / (np.sqrt(unbiased[1]) + 1e-8)
    return history


def tpe(signal: Floats, choices: Choices, rounds: int, steps: int, seed: int) -> Archs:
    """Tree of Parzen estimators, optuna's: proposes what resembles the best networks so far."""
    check_seed(seed)
    check_whole(1, rounds=rounds, steps=steps)
    history = np.empty((rounds, steps), np.int64)
    for number, row in enumerate(history):
        study = _study(seed, number)
        for step in range(steps):
            trial, row[step] = _proposed(study, choices)
            study.tell(trial, float(_read(signal, row[step])))
    return history


def bohb(
    short: Floats, long: Floats, choices: Choices, rounds: int, epochs: int, seed: int
) -> Archs:
    """Search like BOHB: :func:`tpe` proposes networks, Hyperband stops those that look bad early.

    A training may be stopped after each of `STOPS` but the last; before the last, `short` is all
    that is known of a network, at the end `long`. A round has so many `epochs` for all its
    trainings. Returns the architecture that each round finds, [rounds]: the best of those trained
    to the end, if any.
    """
    first, *_, last = STOPS
    check_seed(seed)
    check_whole(1, rounds=rounds)
    if epochs < first:
        raise ValueError(f"{epochs} epochs do not train one network for {first}")
    found = np.empty(rounds, np.int64)
    for number in range(rounds):
        study, left, best = _study(seed, number), epochs, (False, -np.inf)
        while left >= first:
            trial, arch = _proposed(study, choices)
            paid, reached = 0, best
            for paid in (stop for stop in STOPS if stop <= left):
                signal = long if paid == last else short
                reached = (paid == last, float(_read(signal, np.array(arch))))
                trial.report(reached[1], paid)
                if paid < last and trial.should_prune():
                    break
            left -= paid
            if reached[0]:
                study.tell(trial, reached[1])
            else:
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            if reached > best:
                best, found[number] = reached, arch
    return found


def _study(seed: int, number: int) -> optuna.Study:
    """Return a round of its own; the study's name decides, too, what Hyperband stops."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with warnings.catch_warnings():  # that a multivariate TPE is experimental
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = optuna.samplers.TPESampler(seed=seed + number, multivariate=True)
    pruner = optuna.pruners.HyperbandPruner(STOPS[0], STOPS[-1], reduction_factor=3)
    return optuna.create_study(
        direction="maximize", sampler=sampler, pruner=pruner, study_name=f"{number}"
    )


def _proposed(study: optuna.Study, choices: Choices) -> tuple[optuna.Trial, int]:
    """Return a new trial of a study, and the architecture that it proposes."""
    trial = study.ask()
    options = [trial.suggest_categorical(f"{i}", range(n)) for i, n in enumerate(choices.sizes)]
    return trial, int(choices.index(np.array(options)))


# What they found -----------------------------------------------------------------------------


def curves(history: Archs, signal: ArrayLike, result: ArrayLike) -> Curves:
    """Return the results of a search after each step.

    Where two signals are equally good, the network trained first counts.

    Examples
    --------
    A search chooses by validation accuracy, and is judged by test accuracy:

    >>> validation, test = [88.0, 91.0, 90.0], [87.0, 88.5, 90.5]
    >>> found = curves(np.array([[0, 1, 2]]), validation, test)
    >>> found.honest, found.oracle
    (array([[87. , 88.5, 88.5]]), array([[87. , 88.5, 90.5]]))
    """
    found = _vector(result, "result")[history]
    best = np.maximum.accumulate(_read(_vector(signal, "signal"), history), axis=1)
    better = best > np.insert(best[:, :-1], 0, np.inf, axis=1)  # than all before
    chosen = np.maximum.accumulate(better * np.arange(best.shape[1]), axis=1)
    return Curves(np.maximum.accumulate(found, axis=1), np.take_along_axis(found, chosen, axis=1))


def chosen(history: Archs, signal: ArrayLike) -> Archs:
    """Return the architecture of each round that has the best signal, the first where several.

    Examples
    --------
    >>> chosen(np.array([[0, 2], [2, 1]]), [88.0, 91.0, 90.0])
    array([2, 1])
    """
    return _take(history, _read(_vector(signal, "signal"), history).argmax(axis=1))


def better(results: ArrayLike, others: ArrayLike) -> float:
    """Return how often a round of a search ends better than a round of another search.

    Each result is compared with each of the others; equal ones count as halves. 0.5 is no
    difference. It is Mann and Whitney's U as a share.

    Examples
    --------
    >>> better([91.0, 92.0], others=[90.0, 91.0])
    0.875
    """
    sign = np.sign(np.asarray(results, float)[:, None] - np.asarray(others, float))
    return float((1 + sign.mean()) / 2)


def _best_of_pool(streams: Streams, score: Scored, pool: int, count: int) -> Archs:
    """Return the best scored of a pool drawn with replacement, in order of their scores."""
    if pool < count:
        raise ValueError(f"a pool of {pool} has not the {count} that are to be taken from it")
    drawn = streams.choice(score.drawn, pool)
    order = np.argsort(-score.values[drawn], axis=1, kind="stable")[:, :count]
    return np.take_along_axis(drawn, order, axis=1)


def _read(signal: Floats, archs: Archs) -> Floats:
    """Return what training gave for some architectures."""
    if hasattr(signal, "__len__") and not 0 <= np.min(archs) <= np.max(archs) < len(signal):
        raise ValueError(f"signal has {len(signal):,} values, not one for each architecture")
    found = signal[archs]
    if np.isnan(found).any():
        raise ValueError("an architecture that was trained has no signal")
    return found


def _take(rows: Archs, position: NDArray[np.int64]) -> Archs:
    """Return one element of each row."""
    return rows[np.arange(len(rows)), position]


def _vector(values: Any, name: str) -> Floats:
    """Return finite numbers or NaN; what has no length is a table that is read when needed."""
    vector = numbers(values, name) if hasattr(values, "__len__") else values
    if np.ndim(vector) != 1 and vector is not values:
        raise ValueError(f"{name} has shape {vector.shape}; give a number for each architecture")
    return vector


def _check_score(score: Scored, n_archs: int) -> None:
    fits = isinstance(score, Scored) and len(score.values) == n_archs
    if not fits or np.isposinf(score.values).any():
        raise ValueError(f"score must be what `scored` makes of {n_archs:,} values, none infinite")
