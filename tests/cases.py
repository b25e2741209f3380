"""An unusual and a wrong value for every parameter of every notebook."""

from epsutil.book import parameters

POOL = "|nor_conv_1x1~0|+|none~0|avg_pool_3x3~1|+|none~0|none~1|skip_connect~2|"
TWO = "two different finite numbers above 0"
MORE = "two or more different finite numbers above 0"
RUNS = "tests/nasbench101_runs.csv"  # made up, in the user's format
PAIR = ([1.0, 1e-7], [1e-7, 1.0, 2.0], TWO)

# Parameter -> an unusual value, one that it cannot have, and what the error says.
COMMON = {
    "weights": PAIR,
    "batch_size": (7, 1, "from 2 to 10,240"),
    "seed": (0, -1, "from 0 to 4,294,967,295"),
    "dataset": ("uniform", "ptb", "one of cifar10, cifar100, ImageNet16-120, grey"),
    "n_archs": (10, 15_626, "from 10 to 15,625"),
    "n_archs101": (20, 9, "from 10 to 423,624"),
    "n_archs_nlp": (60, 9, "from 10 to 14,322"),
    "n_resamples": (0, -1, "from 0 to 100,000"),
    "n_jobs": (1, 0, "a number of processes up to 1,024, or -1 for one per core"),
    "n_competitors": (2, -1, "from 0 to 15,625"),
    "n_least": (15_625, 0, "from 1 to 15,625"),
    "n_trained": (10, 9, "from 10 to 10,000"),
    "n_rounds": (1, 10_001, "from 1 to 10,000"),
    "n_pool": (10, 0, "from 1 to 15,625"),
    "population": (3, 0, "from 1 to 10,000"),
    "tournament": (1, 0, "from 1 to 10,000"),
    "mutation": ("uniform", "edge", "one of node first, uniform"),
    "unscored": ("left out", "last", "one of worst, zero, left out"),
    "signal": ("run1", "run2", "one of validation200, validation12, run1, test"),
    "datasets": (["cifar100"], ["mnist"], "one or more different ones of cifar10, cifar100"),
    "batch_seeds": ([3], [3, 3], "one or more different numbers"),
    "metrics": (
        ["params", "ntk"],
        ["params", "size"],
        "one or more different ones of grad_sign",
    ),
    "warm_up": ("all", "none", "one of first, all"),
    "groups": (["naswot"], ["fisher_biased"], "one or more different ones of synflow"),
    "later_groups": (["az_nas", "meco"], [], "one or more different ones of meco"),
    "n_batch_archs": (10, 9, "from 10 to 15,625"),
    "architectures": ("last", "first", "one of own, common, last"),
    "n_recheck": (15_625, 0, "from 1 to 15,625"),
    "n_evaluated": (10, 9, "from 10 to 14,322"),
    "n_few": (21, 14_323, "from 10 to 14,322"),
}
# Where a notebook's differ, or are its own.
OWN = {
    "algorithm01_epsilon": {
        "arch": (POOL, "|conv~0|", "an architecture: not an architecture of NAS"),
        "my_arch": (POOL, "nor_conv_3x3", "an architecture: not an architecture of NAS"),
        "weights": ([1.0, 1e-7], [1.0, 1.0], TWO),
    },
    "coverage": {
        "n_archs": (30, 9, "from 10 to 15,625"),
    },
    "ensemble": {
        "n_archs101": (10, 9, "from 10 to 423,624"),
        "n_archs_nlp": (20, 14_323, "from 10 to 14,322"),
        "n_competitors": (12, -1, "from 0 to 15,625"),
        "n_least": (12, 0, "from 1 to 15,625"),
    },
    "figure02_scatter": {
        "n_archs101": (10, 423_625, "from 10 to 423,624"),
        "n_archs_nlp": (10, 9, "from 10 to 14,322"),
        "n_drawn": (423_624, 0, "from 1 to 423,624"),
        "lowest": (9, 100.5, "from 0 to 100"),
        "highest_perplexity": (1e6, 1.0, "above 1"),
        "lowest_epsilon": (1e-9, 0.0, "above 0"),
        "seed": (2**32 - 1, 2**32, "from 0 to 4,294,967,295"),
    },
    "figure04_batch_size": {
        "batch_sizes": ([2, 7], [8], "two or more different numbers"),
        "n_archs": (10, 9, "from 10 to 15,625"),
    },
    "figure05_search_metrics": {
        "unscored": ("zero", "last", "one of worst, zero, left out"),
        "signal": ("test", "run2", "one of validation200, validation12, run1, test"),
    },
    "figure06_other_metrics": {
        "n_archs": (10, 0, "from 10 to 15,625"),
        "groups": (["naswot"], ["naswot", "naswot"], "one or more different ones of synflow"),
        "n_competitors": (0, -1, "from 0 to 15,625"),
    },
    "metrics_relation": {
        "n_archs": (10, 9, "from 10 to 15,625"),
        "groups": (["ntk", "synflow"], [], "one or more different ones of synflow"),
        "n_competitors": (0, 15_626, "from 0 to 15,625"),
    },
    "noise_ceiling": {
        "n_archs": (40, 9, "from 10 to 15,625"),
        "n_competitors": (12, -1, "from 0 to 15,625"),
        "n_least": (10, 0, "from 1 to 15,625"),
    },
    "search_budget": {
        "metrics": (
            ["params", "naswot"],
            ["params", "size"],
            "one or more different ones of grad_sign",
        ),
        "budgets": ([7, 2], [0, 1], "numbers from 1 to 10,000"),
        "n_rounds": (1, 0, "from 1 to 10,000"),
        "unscored": ("zero", "last", "one of worst, zero, left out"),
    },
    "search_nasbench101": {
        "n_pool": (10, 0, "from 1 to 423,624"),
        "weights": ([10.0, 1e-4], [float("nan"), 1.0], TWO),
        "n_archs": (20, 9, "from 10 to 423,624"),
    },
    "search_nasbench_nlp": {
        "n_pool": (10, 0, "from 1 to 14,322"),
        "n_neighbours": (1, 1001, "from 1 to 1,000"),
        "weights": ([1e-3, 1e-5], [-1.0, 1.0], TWO),
        "n_archs": (20, 9, "from 10 to 14,322"),
    },
    "table01_nasbench201": {
        "weights": ([1.0, 1e-7], [0.0, 1.0], TWO),
        "n_archs": (10, 20_000, "from 10 to 15,625"),
        "n_resamples": (199, -1, "from 0 to 100,000"),
        "later_groups": (["meco"], ["naswot"], "one or more different ones of meco"),
    },
    "table02_search": {
        "n_pool": (1, 0, "from 1 to 15,625"),
        "n_small": (1, 15_626, "from 1 to 15,625"),
        "n_rounds": (1, 0, "from 1 to 10,000"),
        "unscored": ("left out", "best", "one of worst, zero, left out"),
        "epochs": (200, 90, "one of 12, 200"),
        "learning_rate": (0.5, 0.0, "above 0 and at most 10"),
        "n_bohb": (0, -1, "from 0 to 10,000"),
        "n_archs": (10, 9, "from 10 to 15,625"),
        "groups": (["naswot"], ["naswot", "naswot"], "one or more different ones of synflow"),
    },
    "table03_nasbench101": {
        "weights": ([10.0, 1e-4], [float("nan"), 1.0], TWO),
        "n_archs": (11, 423_625, "from 10 to 423,624"),
        "n_resamples": (200, 100_001, "from 0 to 100,000"),
        "batch_seeds": ([3], [-1], "numbers from 0 to 4,294,967,295"),
        "n_batch_archs": (10, 9, "from 10 to 423,624"),
        "n_rounding": (10, 423_625, "from 10 to 423,624"),
        "groups": (["synflow", "naswot"], ["linear_regions"], "ones of synflow, gradients"),
        "n_competitors": (0, -1, "from 0 to 423,624"),
        "architectures": ("common", "", "one of own, common, last"),
        "n_least": (423_624, 0, "from 1 to 423,624"),
        "runs": (RUNS, "no-such-file.csv", "a file, or empty"),
        "n_recheck": (423_624, 0, "from 1 to 423,624"),
    },
    "table04_nasbench_nlp": {
        "weights": ([1e-3, 1e-5], [-1.0, 1.0], TWO),
        "n_archs": (20, 14_323, "from 10 to 14,322"),
        "groups": (["text_gradients"], ["naswot"], "ones of synflow, text_gradients"),
        "n_competitors": (0, 14_323, "from 0 to 14,322"),
        "architectures": ("common", "all", "one of own, common, last"),
        "n_least": (14_322, 0, "from 1 to 14,322"),
        "n_recheck": (14_322, 0, "from 1 to 14,322"),
    },
    "table05_weights_nasbench101": {
        "weights": ([10.0, 0.5, 1e-4], [0.5], MORE),
        "n_archs": (10, 9, "from 10 to 423,624"),
    },
    "table06_weights_nasbench201": {
        "dataset": ("ImageNet16-120", "grey", "one of cifar10, cifar100, ImageNet16-120"),
        "weights": ([7.0, 3e-4, 0.5], [1.0, 0.5, 1.0], MORE),
        "n_archs": (10, -5, "from 10 to 15,625"),
    },
    "table07_weights_nasbench_nlp": {
        "weights": ([1.0, 1e-7], [1 / 3, 1.0], f"{MORE}, of at most six digits each"),
        "n_archs": (20, 15_625, "from 10 to 14,322"),
    },
    "table08_weights": {
        "exponents": ([0, -3, 2], [0], "two or more different numbers"),
        "largest_share": (1, 0.0, "above 0 and at most 1"),
        "n_archs": (10, 14_323, "from 10 to 14,322"),
    },
    "table09_initialisations": {
        "n_archs": (10, 9, "from 10 to 15,625"),
        "n_draws": (0, -1, "from 0 to 15,625"),
    },
    "table10_embeddings": {
        "weights": ([1e-3, 1e-5], [1e-3], TWO),
        "n_archs": (20, 9, "from 10 to 14,322"),
    },
    "table11_synthetic_inputs": {
        "n_archs": (10, 9, "from 10 to 15,625"),
        "n_batch_archs": (11, 15_626, "from 10 to 15,625"),
    },
    "unseen_space": {
        "rule": ("spread", "tallest", "one of published"),
        "n_deciding": (11, 9, "from 10 to 6,561"),
        "n_archs": (30, 6_562, "from 10 to 6,561"),
        "n_few": (30, 6_562, "from 10 to 6,561"),
        "groups": (["naswot"], ["naswott"], "naswot"),
        "n_competitors": (2, -1, "from 0 to 6,561"),
    },
    "weights_without_training": {
        "n_archs": (10, 9, "from 10 to 14,322"),
        "n_rounds": (1, 0, "from 1 to 10,000"),
        "n_evaluated": (20, 14_323, "from 10 to 14,322"),
        "n_resamples": (200, -1, "from 0 to 100,000"),
    },
    "width_collapse": {
        "n_archs": (2, 0, "from 1 to 15,625"),
        "n_archs101": (2, 0, "from 1 to 423,624"),
        "n_archs_nlp": (2, 14_323, "from 1 to 14,322"),
        "image_size": (4, 0, "a multiple of 4 from 4 to 256"),
        "dtypes": (["float32"], ["float16"], "one or more different ones of float32, float64"),
        "n_speed_archs": (2, 0, "from 1 to 15,625"),
        "speed_batch_size": (3, 10_241, "from 2 to 10,240"),
        "speed_image_size": (12, 9, "a multiple of 4 from 4 to 256"),
    },
}
# Notebook -> parameter -> the three. test_book.py executes a notebook once with all its unusual
# values.
CASES = {
    name: {key: OWN.get(name, {}).get(key) or COMMON[key] for key in parameters.defaults(name)}
    for name in parameters.names()
}
