"""Searches on small hand-made spaces, each against a plain one on the same random numbers."""

import itertools

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from epsutil import search, spaces

ROUNDS, STEPS, SEED = 7, 40, 3


class Recording:
    """A vector that remembers what was read of it."""

    def __init__(self, values):
        self.values, self.read = np.asarray(values, float), []

    def __getitem__(self, archs):
        self.read.append(np.array(archs))
        return self.values[archs]


@pytest.fixture(scope="module")
def table():
    """Three choices of three options, in a shuffled order; with ties, and unscored ones."""
    rng = np.random.default_rng(0)
    options = np.array(list(itertools.product(range(3), repeat=3)))
    options = options[rng.permutation(len(options))]
    signal = rng.integers(0, 20, len(options)).astype(float)
    score = np.round(rng.random(len(options)), 1) - 0.3  # some below 0
    score[rng.permutation(len(options))[:8]] = np.nan
    choices = search.Choices(options, groups=[0, 1, 1])
    return choices, signal, score


def rounds_of(seed, rounds=ROUNDS):
    children = np.random.SeedSequence(seed).spawn(rounds)
    return [np.random.default_rng(child) for child in children]


def value(score, unscored):
    """Return a score's place among others."""
    return (0.0 if unscored == "zero" else -np.inf) if np.isnan(score) else score


def first_best(archs, key):
    best = archs[0]
    for arch in archs[1:]:
        if key(arch) > key(best):
            best = arch
    return best


def draw(rng, candidates, count):
    return [candidates[int(u * len(candidates))] for u in rng.random(count)]


def candidates(score, unscored):
    return [i for i, s in enumerate(score) if unscored != "left out" or not np.isnan(s)]


def warm(rng, score, pool, count, unscored):
    drawn = draw(rng, candidates(score, unscored), pool)
    order = sorted(range(pool), key=lambda i: (-value(score[drawn[i]], unscored), i))
    return [drawn[i] for i in order[:count]]


# Plain algorithms ----------------------------------------------------------------------------


def plain_changes(choices, uniform):
    """Return a list of (neighbour, probability) for each architecture, in order of the changes."""
    options = [tuple(row) for row in choices.options]
    place = {row: i for i, row in enumerate(options)}
    groups = choices.groups or list(range(len(options[0])))
    lists = []
    for row in options:
        near = []
        for position, size in enumerate(choices.sizes):
            if uniform:
                chance = 1 / sum(n - 1 for n in choices.sizes)
            else:
                chance = 1 / len(set(groups)) / groups.count(groups[position]) / (size - 1)
            for shift in range(1, size):
                other = list(row)
                other[position] = (row[position] + shift) % size
                near.append((place[tuple(other)], chance))
        lists.append(near)
    return lists


def plain_mutation(near, u):
    total = 0.0
    for arch, chance in near:
        total += chance
        if u < total:
            return arch
    return near[-1][0]


def plain_evolution(
    rng, signal, near, score, population, tournament, replacement, pool, move, unscored
):
    if pool:
        history = warm(rng, score, pool, population, unscored)
    else:
        history = draw(rng, range(len(signal)), population)
    alive = list(history)
    n_keys = tournament if replacement else population
    keys = rng.random((STEPS - population, n_keys))
    changes = rng.random((STEPS - population, 2))
    for key, (change, coin) in zip(keys, changes, strict=True):
        if replacement:
            entrants = [alive[int(u * population)] for u in key]
        else:
            entrants = [alive[i] for i in np.argsort(key)[:tournament]]
        if move == "score":
            parent = first_best(entrants, lambda a: value(score[a], unscored))
        else:
            parent = first_best(entrants, lambda a: signal[a])
        child = plain_mutation(near[parent], change)
        if move == "best neighbour" and coin < 0.75:
            child = first_best([a for a, _ in near[parent]], lambda a: value(score[a], unscored))
        history.append(child)
        alive = [*alive[1:], child]  # the oldest leaves
    return history


def plain_reinforce(rng, signal, choices, learning_rate, momentum):
    import torch

    place = {tuple(row): i for i, row in enumerate(choices.options)}
    logits = [torch.zeros(size, dtype=torch.float64, requires_grad=True) for size in choices.sizes]
    adam = torch.optim.Adam(logits, lr=learning_rate)
    numerator = denominator = 0.0
    history = []
    for numbers in rng.random((STEPS, len(choices.sizes))):
        row, log_likely = [], 0.0
        for u, edge in zip(numbers, logits, strict=True):
            likely = torch.softmax(edge, 0)
            option, total = 0, float(likely[0].detach())
            while u >= total and option < len(likely) - 1:
                option += 1
                total += float(likely[option].detach())
            row.append(option)
            log_likely = log_likely + torch.log(likely[option])
        arch = place[tuple(row)]
        numerator = momentum * numerator + (1 - momentum) * signal[arch]
        denominator = momentum * denominator + (1 - momentum)
        adam.zero_grad()
        (-log_likely * (signal[arch] - numerator / denominator)).backward()
        adam.step()
        history.append(arch)
    return history


# Against the plain ones ----------------------------------------------------------------------


@pytest.mark.parametrize("unscored", search.UNSCORED)
@pytest.mark.parametrize("n", [1, 2, 12])
def test_pick(table, unscored, n):
    score = table[2]
    picked = search.pick(search.scored(score, unscored), n, ROUNDS, SEED)
    for rng, best in zip(rounds_of(SEED), picked, strict=True):
        expected = draw(rng, candidates(score, unscored), n)
        assert best == first_best(expected, lambda a: value(score[a], unscored))


def test_a_pool_is_drawn_from_what_was_scored(table):
    _, signal, score = table
    among = np.array([3, 11, 4, 20])
    scored = search.scored(score, "worst", among)
    assert set(search.pick(scored, 2, 300, SEED)) <= {*among}
    warmed = search.random(len(signal), ROUNDS, 100, SEED, scored, 200)
    assert set(warmed[:, :64].ravel()) <= {*among} and not set(warmed[:, 64:].ravel()) <= {*among}
    left_out = search.scored(
        np.where(np.isin(np.arange(27), [3, 4]), np.nan, 1.0), "left out", among
    )
    assert left_out.drawn.tolist() == [11, 20]


def test_picked_maximum_is_what_probability_says():
    """The best of n draws with replacement from 1..m."""
    m, n = 10, 4
    picked = search.pick(search.scored(np.arange(1, m + 1)), n, 20_000, SEED)
    expected = sum(k * ((k / m) ** n - ((k - 1) / m) ** n) for k in range(1, m + 1))
    assert abs((picked + 1).mean() - expected) < 0.05


@pytest.mark.parametrize("unscored", search.UNSCORED)
@pytest.mark.parametrize("warm_up", [None, *search.WARM_UP])
@pytest.mark.parametrize("steps", [30, 80])
def test_random(table, unscored, warm_up, steps):
    _, signal, score = table
    given = {"score": search.scored(score, unscored), "warm_up": warm_up, "pool": 100}
    history = search.random(len(signal), ROUNDS, steps, SEED, **given if warm_up else {})
    for rng, archs in zip(rounds_of(SEED), history, strict=True):
        expected = draw(rng, range(len(signal)), steps)
        if warm_up is not None:
            best = warm(rng, score, 100, steps, unscored)
            count = steps if warm_up == "all" else min(steps, 64)
            expected[:count] = best[:count]
        assert archs.tolist() == expected


@pytest.mark.parametrize("move", search.MOVES)
@pytest.mark.parametrize("pool", [0, 25])
@pytest.mark.parametrize(
    ("population", "tournament", "replacement", "uniform", "unscored"),
    [
        (12, 5, False, True, "zero"),
        (12, 12, False, False, "worst"),
        (6, 10, True, False, "left out"),
    ],
)
def test_evolution(table, move, pool, population, tournament, replacement, uniform, unscored):
    choices, signal, score = table
    given = (population, tournament, replacement)
    neighbourhood = choices.neighbourhood("uniform" if uniform else "node first")
    scored = search.scored(score, unscored)
    history = search.evolve(signal, neighbourhood, ROUNDS, STEPS, SEED, *given, scored, pool, move)
    near = plain_changes(choices, uniform)
    for rng, archs in zip(rounds_of(SEED), history, strict=True):
        expected = plain_evolution(rng, signal, near, score, *given, pool, move, unscored)
        assert archs.tolist() == expected


@pytest.mark.parametrize("learning_rate", [0.01, 0.5])
def test_reinforce(learning_rate):
    """As torch does it; the choices have two, three and four options."""
    options = np.array(list(itertools.product(range(2), range(3), range(4))))
    choices = search.Choices(options)
    signal = np.random.default_rng(1).random(len(options)) * 100
    history = search.reinforce(signal, choices, ROUNDS, STEPS, SEED, learning_rate)
    for rng, archs in zip(rounds_of(SEED), history, strict=True):
        assert archs.tolist() == plain_reinforce(rng, signal, choices, learning_rate, 0.9)


def test_reinforce_learns():
    options = np.array(list(itertools.product(range(3), repeat=2)))
    signal = (options == [2, 1]).sum(axis=1).astype(float)
    history = search.reinforce(signal, search.Choices(options), 20, 300, SEED, 0.1)
    assert signal[history[:, -50:]].mean() > 1.9 > 1 > signal[history[:, :3]].mean()


def test_tpe_reads_what_it_trains_and_learns(table):
    choices, signal, _ = table
    recording = Recording(signal)
    history = search.tpe(recording, choices, rounds=3, steps=STEPS, seed=SEED)
    assert [int(a) for a in recording.read] == history.ravel().tolist()
    assert signal[history[:, -10:]].mean() > signal[history[:, :10]].mean() + 1
    np.testing.assert_array_equal(search.tpe(signal, choices, 2, STEPS, SEED), history[:2])


@pytest.mark.parametrize("epochs", [12, 1000])
def test_bohb_pays_for_each_epoch_and_takes_the_best_of_the_longest_trained(table, epochs):
    choices, short, _ = table
    long = 1000 - short  # so that who chooses by the short ones is found out
    first, last = Recording(short), Recording(long)
    found = search.bohb(first, last, choices, rounds=1, epochs=epochs, seed=SEED)
    if epochs == 12:
        assert not last.read and found.tolist() == [int(a) for a in first.read]
        return
    whole, stops = [int(a) for a in last.read], len(first.read)
    assert len(whole) >= 2 and long[found[0]] == max(long[whole])
    # a whole training is seen after 12, 36 and 108 epochs, too; any other costs 12 to 108
    assert 200 * len(whole) <= epochs and 12 * (stops - 3 * len(whole)) <= epochs - 200 * len(whole)
    again = search.bohb(short, long, choices, rounds=2, epochs=epochs, seed=SEED)
    assert again[0] == found[0]


def test_bohb_without_an_epoch_to_spare(table):
    choices, signal, _ = table
    with pytest.raises(ValueError, match="11 epochs do not train one network for 12"):
        search.bohb(signal, signal, choices, rounds=1, epochs=11, seed=0)


def test_curves(table):
    _, signal, _ = table
    result = np.random.default_rng(2).random(len(signal))
    history = search.random(len(signal), ROUNDS, STEPS, SEED)
    curves = search.curves(history, signal, result)
    chosen = search.chosen(history, signal)
    for row, archs in enumerate(history.tolist()):
        for step in range(STEPS):
            so_far = archs[: step + 1]
            assert curves.oracle[row, step] == max(result[a] for a in so_far)
            best = first_best(so_far, lambda a: signal[a])
            assert curves.honest[row, step] == result[best]
        assert chosen[row] == best
    assert (curves.honest <= curves.oracle).all() and (curves.honest < curves.oracle).any()


# What every search keeps to ------------------------------------------------------------------


def every_search(signal, table, rounds=ROUNDS, steps=STEPS):
    choices, _, score = table
    score = search.scored(score)
    near, size = choices.neighbourhood(), (rounds, steps, SEED)
    small = {"population": 8, "tournament": 4}
    yield search.evolve(signal, near, *size, **small)
    for move in search.MOVES:
        yield search.evolve(signal, near, *size, **small, score=score, pool=20, move=move)
    yield search.reinforce(signal, choices, *size)


def test_a_search_reads_only_what_it_trains(table):
    for number in range(len(search.MOVES) + 2):
        recording = Recording(table[1])
        history = list(itertools.islice(every_search(recording, table), number + 1))[-1]
        read = [a.reshape(ROUNDS, -1) for a in recording.read]
        seen = np.concatenate(read, axis=1)
        if number != 1 + search.MOVES.index("score"):  # which reads none, see below
            np.testing.assert_array_equal(seen[:, -STEPS:], history)


def test_moving_by_score_reads_no_signal(table):
    choices, signal, score = table
    recording = Recording(signal)
    search.evolve(
        recording,
        choices.neighbourhood(),
        ROUNDS,
        STEPS,
        SEED,
        8,
        4,
        False,
        search.scored(score),
        20,
        "score",
    )
    assert not recording.read


def test_a_round_depends_on_its_seed_alone(table):
    signal = table[1]
    for few, same, many, longer in zip(
        every_search(signal, table),
        every_search(signal, table),
        every_search(signal, table, rounds=2 * ROUNDS),
        every_search(signal, table, steps=STEPS + 5),
        strict=True,
    ):
        assert (few == same).all()
        assert (few == many[:ROUNDS]).all()
        assert len({tuple(row) for row in many}) > ROUNDS  # the rounds differ
        assert few.shape == (ROUNDS, STEPS) and longer.shape == (ROUNDS, STEPS + 5)


def test_a_known_chain_is_climbed():
    """On a line where each step up is better, ageing evolution walks to the end."""
    n = 30
    table = [[i - 1 if i else -1, i + 1 if i < n - 1 else -1] for i in range(n)]
    near = search.Neighbourhood(table)
    history = search.evolve(np.arange(n), near, 20, 400, SEED, population=8, tournament=8)
    assert (history.max(axis=1) == n - 1).all()
    score = -np.abs(np.arange(n) - 4.0)  # warm-up starts at the best score, and moves around it
    history = search.evolve(
        np.arange(n), near, 5, 60, SEED, 8, 8, score=search.scored(score), pool=200, move="score"
    )
    assert (history[:, 0] == 4).all() and (np.abs(history - 4) <= 3).all()


# Neighbourhoods ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cells():
    return search.cell_choices(spaces.get("nasbench201")[:])


def test_nasbench201_has_24_neighbours_at_distance_one(cells):
    space = spaces.get("nasbench201")
    near = cells.neighbourhood()
    assert cells.sizes == (5,) * 6 and list(cells.groups) == [0, 1, 1, 2, 2, 2]
    assert near.table.shape == (15_625, 24)
    for index in (0, 77, 15_624):
        own = space[index].replace("+", "").split("|")
        theirs = [space[int(i)].replace("+", "").split("|") for i in near.table[index]]
        assert {sum(a != b for a, b in zip(own, t, strict=True)) for t in theirs} == {1}
        assert len({tuple(t) for t in theirs}) == 24


def test_how_often_mutation_changes_each_edge(cells):
    """A node first, then an edge to it: the first node's only edge changes in a third of cases."""
    n = 60_000
    for uniform, expected in ((False, [6, 3, 3, 2, 2, 2]), (True, [3] * 6)):
        archs = np.full(n, 4321)
        near = cells.neighbourhood("uniform" if uniform else "node first")
        mutated = near.mutate(archs, np.random.default_rng(0).random(n))
        changed = cells.options[mutated] != cells.options[archs]
        assert (changed.sum(axis=1) == 1).all()
        np.testing.assert_allclose(changed.mean(axis=0), np.array(expected) / 18, atol=0.01)
        for edge in range(6):  # and all other operations alike
            of_edge = cells.options[mutated[changed[:, edge]], edge]
            counts = np.bincount(of_edge, minlength=5) / len(of_edge)
            np.testing.assert_allclose(np.sort(counts), [0, 0.25, 0.25, 0.25, 0.25], atol=0.02)


def test_a_neighbourhood_of_unequal_rows():
    near = search.Neighbourhood([[1, 2, -1], [0, -1, -1], [0, 1, 3], [2, -1, -1]], [3, 1, 1])
    u = np.linspace(0, 1, 1000, endpoint=False)
    for arch, expected in ((0, {1: 0.75, 2: 0.25}), (1, {0: 1}), (2, {0: 0.6, 1: 0.2, 3: 0.2})):
        mutated = near.mutate(np.full(1000, arch), u)
        got = {int(i): float((mutated == i).mean()) for i in np.unique(mutated)}
        assert got == pytest.approx(expected, abs=2e-3)
    assert near.mutate(np.array([0, 1, 2]), np.full(3, np.nextafter(1, 0))).tolist() == [2, 0, 3]
    score = np.array([-5.0, -7.0, -6.0, -1.0])  # what is not there is not better
    assert near.best(np.array([0, 1, 2, 3]), score).tolist() == [2, 0, 3, 2]


def test_evolution_by_a_spaces_own_mutation():
    """On NAS-Bench-101, each child is one edit of some member of the population, by graph hash."""
    space = spaces.get("nasbench101")
    signal = np.random.default_rng(0).random(len(space))
    size = (2, 12, SEED, 4, 2)
    history = search.evolve(signal, search.Edits(space), *size)
    assert (history == search.evolve(signal, search.Edits(space), *size)).all()
    streams = search.Streams(SEED, 2)
    np.testing.assert_array_equal(streams.choice(np.arange(len(space)), 4), history[:, :4])
    keys, changes = streams.uniform(8, 4), streams.uniform(8, 2)
    for row, archs in enumerate(history.tolist()):
        for step in range(4, 12):
            entrants = [archs[step - 4 + i] for i in np.argsort(keys[row, step - 4])[:2]]
            rng = np.random.default_rng(int(changes[row, step - 4, 0] * 2**53))
            mutant = space.mutate(space[first_best(entrants, lambda a: signal[a])], rng)
            assert space.key(space[archs[step]]) == space.key(mutant)


# What is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda n, s: search.Neighbourhood([[1], [1]]), "another of the architectures"),
        (lambda n, s: search.Neighbourhood([[1], [2]]), "another of the architectures"),
        (lambda n, s: search.Neighbourhood([[1], [-1]]), "architecture 1 has no neighbour"),
        (lambda n, s: search.Choices(np.array([[0, 0], [0, 1], [1, 0]])), "exactly once"),
        (lambda n, s: search.Choices(np.array([[0], [1], [1]])), "exactly once"),
        (
            lambda n, s: search.Choices(np.array([[0], [1]])).neighbourhood("edge"),
            "the known ones are node first, uniform",
        ),
        (
            lambda n, s: search.scored([1.0, 2.0], "best"),
            "the known ones are worst, zero, left out",
        ),
        (lambda n, s: search.scored([np.nan, np.nan]), "no architecture has a score"),
        (lambda n, s: search.pick(search.scored(s), 0, 1, 0), "n is 0, must be 1 or more"),
        (lambda n, s: search.pick(search.scored(s), 1, 0, 0), "rounds is 0, must be 1 or more"),
        (lambda n, s: search.random(27, 1, 0, 0), "steps is 0"),
        (
            lambda n, s: search.random(27, 1, 9, 0, search.scored(s), 5, "all"),
            "a pool of 5 has not the 9",
        ),
        (lambda n, s: search.random(27, 1, 9, 0, s, 9, "some"), "the known ones are first, all"),
        (lambda n, s: search.evolve(s, n, 1, 9, 0, 8, 9), "a tournament of 9"),
        (lambda n, s: search.evolve(s, n, 1, 9, 0, 10, 3), "do not train the first population"),
        (lambda n, s: search.evolve(s, n, 1, 9, 0, 8, 3, move="best"), "the known ones are signal"),
        (lambda n, s: search.evolve(s, n, 1, 9, 0, 8, 3, pool=20), "need a score"),
        (
            lambda n, s: search.evolve(
                s, search.Edits(n), 1, 9, 0, 8, 3, score=search.scored(s), move="best neighbour"
            ),
            "needs a Neighbourhood",
        ),
        (lambda n, s: search.evolve(s, n, 1, 9, 0, 8, 3, move="score"), "need a score"),
        (lambda n, s: search.evolve(s, n, 9, 9, 0, 8, 3), "has no signal"),
    ],
)
def test_what_makes_no_search(table, call, said):
    choices, _, score = table
    with pytest.raises(ValueError, match=said):
        call(choices.neighbourhood(), score)


# Among the trained networks of NAS-Bench-NLP -------------------------------------------------

CELL = {
    "f": {"op": "linear", "input": ["x", "h_prev_0", "h_prev_1"]},
    "h_new_1": {"op": "activation_tanh", "input": ["f"]},
    "h_new_0": {"op": "elementwise_sum", "input": ["f", "h_new_1"]},
}


def test_counts_of_recipes_are_operations_and_edges_by_what_they_join():
    other = CELL | {"h_new_1": {"op": "activation_sigm", "input": ["f"]}}
    counts = search.of_recipes([CELL, other])
    total, tanh = "elementwise_sum", "activation_tanh"
    expected = {"linear": 1, tanh: 1, total: 1, ("x", "linear"): 1, ("h", "linear"): 2}
    expected |= {("linear", tanh): 1, ("linear", total): 1, (tanh, total): 1}
    expected |= {(tanh, "new state"): 1, (total, "new state"): 1}
    first = counts.loc[0]
    assert first[first > 0].to_dict() == expected
    a, b = counts.to_numpy()
    assert np.abs(a - b).sum() == 8  # a node, the edge to it, the edge from it, a state: each twice


@pytest.mark.parametrize("k", [1, 4, 30])
def test_the_nearest_are_those_of_a_plain_search(k):
    points = np.random.default_rng(0).integers(0, 3, (31, 2)).astype(float)  # with many ties
    found = search.nearest(points, k).table
    for own, row in enumerate(found):
        following = [(own + shift) % 31 for shift in range(1, 31)]
        expected = sorted(following, key=lambda other: np.abs(points[own] - points[other]).sum())
        assert row.tolist() == expected[:k]
    with pytest.raises(ValueError, match="31 neighbours of 31 architectures: give from 1 to 30"):
        search.nearest(points, 31)


def test_what_diverged_is_drawn_and_counts_as_guessing():
    guess = np.log(10_000)
    loss = pd.Series([4.0, np.nan, 20.0, 5.0])
    assert search.goodness(loss, guess).tolist() == [-4.0, -guess, -guess, -5.0]
    score = search.scored(pd.Series([1, 4, 3, 2]), "zero", loss.index)
    assert score.drawn.tolist() == [0, 1, 2, 3] and score.values.tolist() == [1, 4, 3, 2]


def test_rounds_are_compared_each_with_each():
    loss = pd.Series([-5.0, -4.0, -3.0])
    plain, warm = (loss[search.chosen(np.array([ends]).T, loss)] for ends in ([0, 1], [1, 2]))
    assert search.better(warm, plain) == (1 + 1 + 0.5 + 1) / 4
    u = stats.mannwhitneyu(warm, plain).statistic
    assert search.better(warm, plain) == u / 4 == 1 - search.better(plain, warm)


RING = search.Neighbourhood([[(i - 1) % 6, (i + 1) % 6] for i in range(6)])
VALUES = [3.0, 1.0, 2.0, 6.0, 5.0, 4.0]


@pytest.mark.parametrize(
    "values", [VALUES, pd.Series(VALUES, range(6, 0, -1)), torch.tensor(VALUES)]
)
def test_vectors_of_several_kinds_are_one(values):
    expected = search.evolve(np.array(VALUES), RING, 2, 9, 0, 3, 2)
    np.testing.assert_array_equal(search.evolve(values, RING, 2, 9, 0, 3, 2), expected)
    nullable = pd.Series([3, None, 2], dtype="Int64")
    assert search.scored(nullable, "left out").drawn.tolist() == [0, 2]
    assert search.curves(expected, values, values).honest[:, -1].max() == 6
    assert search.chosen(np.array([[0, 3, 1]]), values).tolist() == [3]


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: search.scored([1.0, np.inf]), "score has 1 infinite"),  # it would always win
        (lambda: search.scored(["a", "b"]), "score does not hold real numbers"),
        (lambda: search.scored([[1.0]]), "a number for each architecture"),
        (lambda: search.scored([1.0, 2.0], among=[2]), "positions from 0 to 1"),
        (lambda: search.scored([1.0, 2.0], among=[True, False]), "positions from 0 to 1"),
        (lambda: search.random(6, 1, 2, 0, search.scored([1.0, 2.0]), 2), "makes of 6 values"),
        (lambda: search.random(6, 1, 2, 0, VALUES, 2), "what `scored` makes"),
        (lambda: search.random(6, 1, 2, 0, search.Scored(np.full(6, np.inf), np.arange(6)), 2),
         "infinite"),
        (lambda: search.random(6, 1, 1.5, 0), "steps is 1.5, must be 1 or more, a whole number"),
        (lambda: search.random(6, True, 1, 0), "rounds is True"),
        (lambda: search.evolve([1.0, 2.0], RING, 1, 9, 0, 3, 2), "signal has 2 values"),
        (lambda: search.evolve([np.inf] * 6, RING, 1, 9, 0, 3, 2), "signal has 6 infinite"),
        (lambda: search.evolve("a word", RING, 1, 9, 0, 3, 2), "signal does not hold"),
        (lambda: search.curves(np.array([[0, 1]]), [1.0, np.nan], [1.0, 2.0]), "has no signal"),
        (lambda: search.chosen(np.array([[0, -1]]), [1.0, 2.0]), "signal has 2 values"),
        (lambda: search.chosen(np.array([[0, 1]]), [1.0, np.nan]), "has no signal"),
        (lambda: search.Neighbourhood([[1], [0]], [-1.0]), "a chance is"),
        (lambda: search.Neighbourhood([[1], [0]], [np.inf]), "chance has 1 infinite"),
    ],
)  # fmt: skip
def test_what_is_no_number_is_refused(call, said):
    with pytest.raises(ValueError, match=said):
        call()
