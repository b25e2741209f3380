"""Choosing the two constant weights of epsilon (the paper's Section 3.1 and Table 8)."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from epsutil import spaces
from epsutil.experiments import Problem


def choose(
    problem: Problem, exponents: Sequence[int], largest_share: float
) -> tuple[float, float] | None:
    """Choose two weights by the published rule.

    The rule takes pairs of powers of ten, the widest first and of equally wide ones the smallest
    first, until a pair leaves less than some share of a few random architectures without a score.

    Parameters
    ----------
    problem : epsutil.experiments.Problem
        Its architectures decide; training does not enter.
    exponents : sequence of int
        Of the powers of ten.
    largest_share : float
        The share without a score has to be below it.

    Returns
    -------
    (float, float) or None
        None where no pair satisfies the rule.
    """
    weights = sorted(float(f"1e{exponent}") for exponent in exponents)
    pairs = sorted(combinations(range(len(weights)), 2), key=lambda p: (p[0] - p[1], p[0]))
    scores = problem.scores(weights)
    for a, b in pairs:
        two = (weights[a], weights[b])
        if problem.scored(scores, two).isna().mean() < largest_share:
            return two
    return None


def against_paper(
    problem: Problem, exponents: Sequence[int], largest_share: float, n_evaluated: int
) -> pd.DataFrame:
    """Compare the rule's choice with the paper's.

    Parameters
    ----------
    problem, exponents, largest_share
        See :func:`choose`.
    n_evaluated : int
        How many random architectures the two choices are then evaluated on.

    Returns
    -------
    pandas.DataFrame
        A row per choice (``chosen_by``: ``"paper"`` or ``"rule"``): ``space``, ``dataset``, ``w1``,
        ``w2`` (NaN where no pair satisfies the rule), ``unscored`` (the share of the problem's
        architectures), ``n``, ``n_scored`` and ``rho`` on the `n_evaluated`.
    """
    rows = []
    choices = {
        "paper": spaces.get(problem.space).weights,
        "rule": choose(problem, exponents, largest_share),
    }
    for chosen_by, two in choices.items():
        row: dict[str, Any] = {
            "space": problem.space,
            "dataset": problem.dataset,
            "chosen_by": chosen_by,
        }
        row["w1"], row["w2"] = two or (np.nan, np.nan)
        if two:
            row["unscored"] = problem.epsilon(two).isna().mean()
            many = replace(problem, n_archs=n_evaluated, weights=two)
            row |= many.evaluate()[["n", "n_scored", "rho"]].to_dict()
        rows.append(row)
    return pd.DataFrame(rows)
