"""What spaces, datasets, metrics, scores and the items of the paper are called."""

from collections.abc import Collection
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
