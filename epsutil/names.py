"""What spaces, datasets, metrics, scores and the items of the paper are called.

And what the options of the command line may be: it shows them without torch and pandas.
"""

import math
from collections.abc import Collection
from numbers import Integral
from typing import Any

DATASETS = {
    "cifar10": "CIFAR-10",
    "cifar100": "CIFAR-100",
    "ImageNet16-120": "ImageNet16-120",
    "ptb": "Penn Treebank",
    "wikitext2": "WikiText-2",
}
SPACES = {
    "nasbench201": "NAS-Bench-201",
    "nasbench101": "NAS-Bench-101",
    "nasbench_nlp": "NAS-Bench-NLP",
    "nasbench_macro": "NAS-Bench-Macro",
}
CEILING = "ceiling"  # in a table of metrics, one that knows every expected accuracy
METRICS = {
    "params": "number of parameters",
    "flops": "FLOPs",
    "fisher_weighted": "fisher, weighted",
    "cv": "cv (negated)",
    "ntk": "NTK (negated)",
    "linear_regions": "linear regions",
    CEILING: "noise ceiling",
    "zico": "ZiCo",
    "zico_released": "ZiCo, code until 17 Feb 2023",
    "zico_signed": "ZiCo, code since 17 Feb 2023",
    "meco": "MeCo",
    "swap": "SWAP",
    "az_nas": "AZ-NAS",
}
# Of what is registered elsewhere by these names; tests/test_cli.py holds both to be the same.
PROXIES = (
    "params", "flops", "epsilon", "epsilon_uniform", "epsilon_normal", "epsilon_kaiming_uniform",
    "epsilon_kaiming_normal", "epsilon_orthogonal", "synflow", "grad_norm", "snip", "grasp",
    "fisher", "fisher_weighted", "jacob_cov", "naswot", "grad_sign", "cv", "ntk", "linear_regions",
    "zico", "zico_released", "zico_signed", "meco", "swap", "expressivity", "progressivity",
    "trainability",
)  # fmt: skip
INPUTS = (
    "cifar10", "cifar100", "ImageNet16-120", "grey", "normal", "uniform", "uniform_positive",
    "ptb", "random_tokens",
)  # fmt: skip
RULES = ("published", "half", "apart", "spread", "agreement")
METHODS = {  # searches on a user's table, and the arguments that each takes beside the common ones
    "pick": "score unscored pool",
    "random": "steps",
    "random-warmup": "score unscored pool steps",
    "rea": "archs steps population tournament",
    "rea-warmup": "score unscored pool archs steps population tournament",
    "rea-move": "score unscored archs steps population tournament",
    "reinforce": "archs steps",
}
UNSCORED = ("worst", "zero", "left out")
SCALES = ("paper", "check", "test")
DTYPES = ("float32", "float64", "extended")  # the last for some spaces, see `Space.outputs`
BATCH_SIZE, SEED = 64, 42  # of metrics other than epsilon, Abdelfattah et al.
LARGEST_SEED = 2**32 - 1  # that numpy, pandas and torch all take
MOST_JOBS = 1024
SIGNALS = {  # what a search chooses by
    "validation200": "validation, 200 epochs",
    "validation12": "validation, 12 epochs",
    "run1": "test, one run",
    "test": "test, mean of all runs",
}
SCORES = {
    "rho": "ρ",
    "rho_top10": "ρ top-10%",
    "tau": "τ",
    "tau_top10": "τ top-10%",
    "top10_top10": "Top-10%/ top-10%",
    "top64_top5": "Top-64/ top-5%",
}
CORRELATIONS = [name for name in SCORES if name.startswith(("rho", "tau"))]
ITEMS = {  # the paper's tables and figures, and the pages that reproduce them
    "Algorithm 1": "algorithm01_epsilon",
    "Table 1": "table01_nasbench201",
    "Table 2": "table02_search",
    "Table 3": "table03_nasbench101",
    "Table 4": "table04_nasbench_nlp",
    "Table 5": "table05_weights_nasbench101",
    "Table 6": "table06_weights_nasbench201",
    "Table 7": "table07_weights_nasbench_nlp",
    "Table 8": "table08_weights",
    "Table 9": "table09_initialisations",
    "Table 10": "table10_embeddings",
    "Table 11": "table11_synthetic_inputs",
    "Figure 1": "figure01_nasbench201_scatter",
    "Figure 2": "figure02_scatter",
    "Figure 3": "figure03_search_epsilon",
    "Figure 4": "figure04_batch_size",
    "Figure 5": "figure05_search_metrics",
    "Figure 6": "figure06_other_metrics",
}


def metric_name(name: str) -> str:
    """Write a metric's name within a sentence."""
    return METRICS.get(name, name)


def check_known(what: str, given: Any, known: Collection, where: str = "") -> None:
    """Raise a ValueError that names what is not known, and what is."""
    if given not in known:
        names = ", ".join(map(str, known))
        raise ValueError(f"unknown {what} {given!r}{where}; the known ones are {names}")


def check_whole(low: int, high: float = math.inf, **given: Any) -> None:
    """Raise a ValueError that names what is no whole number in a range, ends included."""
    for name, value in given.items():
        whole = not isinstance(value, bool) and isinstance(value, Integral)
        if not whole or not low <= int(value) <= high:
            words = f"{low} or more" if high == math.inf else f"from {low} to {high}"
            raise ValueError(f"{name} is {value!r}, must be {words}, a whole number")


def check_seed(seed: Any) -> None:
    """Raise a ValueError that names what is no seed."""
    check_whole(0, LARGEST_SEED, seed=seed)


def jobs(value: int) -> str | None:
    """Say what a number of processes must be, None where it is so."""
    fits = value and abs(value) <= MOST_JOBS
    return None if fits else f"a number of processes up to {MOST_JOBS:,}, or -1 for one per core"
