"""What all search spaces have in common: they are indexed as lists are."""

import itertools

import numpy as np
import pytest

from epsutil import spaces

needs_recipes = pytest.mark.needs("nas-bench-nlp/ptb_single_run.csv.gz")
SPACES = [
    pytest.param(spaces.get(name), id=name, marks=needs_recipes if name == "nasbench_nlp" else ())
    for name in spaces.names()
]


@pytest.mark.parametrize("space", SPACES)
class TestIndices:
    def test_integers_of_any_kind(self, space):
        for index in (np.int64(7), np.uint8(7), np.array(7)):
            assert space[index] == space[7]
        assert space[-1] == space[len(space) - 1] != space[-2]
        assert space[-len(space)] == space[0]

    @pytest.mark.parametrize(
        "chosen",
        [
            slice(0, 2),
            slice(None, 3),
            slice(-2, None),
            slice(9, 2, -3),
            slice(np.int64(2), np.int64(4)),
            slice(5, 5),
            slice(10**9, None),
        ],
        ids=str,
    )
    def test_a_slice_is_a_list(self, space, chosen):
        expected = [space[i] for i in list(range(len(space)))[chosen]]
        assert isinstance(space[chosen], list) and space[chosen] == expected

    @pytest.mark.parametrize("beyond", [0, 10**9])
    def test_beyond_the_ends(self, space, beyond):
        for index in (len(space) + beyond, -len(space) - 1 - beyond):
            with pytest.raises(IndexError, match=f"no architecture {index}: the indices are 0 to"):
                space[index]

    @pytest.mark.parametrize(
        "index", [True, np.True_, 1.0, np.float32(1), "1", None, (0, 1), [0], np.array([0, 1])]
    )
    def test_nothing_else_is_an_index(self, space, index):
        with pytest.raises(TypeError, match="an index is an integer or a slice"):
            space[index]
        with pytest.raises(TypeError):
            space[0.5:2]

    def test_iteration(self, space):
        assert list(itertools.islice(space, 4)) == space[:4]
        if space.name != "nasbench101":  # where it takes seconds
            assert sum(1 for _ in space) == len(space)
