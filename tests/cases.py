"""An unusual and a wrong value for every parameter of every notebook."""

from epsutil.book import parameters

POOL = "|nor_conv_1x1~0|+|none~0|avg_pool_3x3~1|+|none~0|none~1|skip_connect~2|"
MORE = "two or more different finite numbers above 0"
RUNS = "tests/nasbench101_runs.csv"  # made up, in the user's format
PAIR = ([1.0, 1e-7], [1.0, 1.0], MORE)

# Parameter -> an unusual value, one that it cannot have, and what the error says.
COMMON = {
    "weights": PAIR,
    "batch_size": (7, 1, "2 or more"),
    "seed": (0, -1, "from 0 to 4,294,967,295"),
    "dataset": ("uniform", "ptb", "one of cifar10, cifar100, ImageNet16-120, grey"),
    "n_archs": (10, 9, "10 or more"),
    "n_archs101": (20, 9, "10 or more"),
    "n_archs_nlp": (60, 9, "10 or more"),
    "n_resamples": (0, -1, "0 or more"),
    "n_jobs": (1, 0, "a number of processes up to 1,024, or -1 for one per core"),
    "n_competitors": (2, -1, "0 or more"),
    "n_least": (15_625, 0, "1 or more"),
    "n_trained": (10, 9, "10 or more"),
    "n_rounds": (1, 0, "1 or more"),
    "n_pool": (10, 0, "1 or more"),
    "population": (3, 0, "1 or more"),
    "tournament": (1, 0, "1 or more"),
    "mutation": ("uniform", "edge", "one of node first, uniform"),
    "unscored": ("left out", "last", "one of worst, zero, left out"),
    "signal": ("run1", "run2", "one of validation200, validation12, run1, test"),
    "datasets": (["cifar100"], ["mnist"], "one or more different ones of cifar10, cifar100"),
    "batch_seeds": ([3], [3, 3], "one or more different numbers"),
    "metrics": (
        ["params", "ntk"],
        ["params", "size"],
        "one or more different ones of",
    ),
    "warm_up": ("all", "none", "one of first, all"),
    "groups": (["naswot"], ["fisher_blased"], "one or more different ones of synflow"),
    "later_groups": (["az_nas", "meco"], [], "one or more different ones of"),
    "n_batch_archs": (10, 9, "10 or more"),
    "architectures": ("last", "first", "one of own, common, last"),
    "n_recheck": (15_625, 0, "1 or more"),
    "n_evaluated": (10, 9, "10 or more"),
    "n_few": (21, 9, "10 or more"),
}
# Where a notebook's differ, or are its own.
OWN = {
    "algorithm01_epsilon": {
        "arch": (POOL, "|conv~0|", "an architecture: not an architecture of NAS"),
        "my_arch": (POOL, "nor_conv_3x3", "an architecture: not an architecture of NAS"),
        "weights": ([1.0, 1e-7], [1.0, 1.0], MORE),
    },
    "coverage": {
        "n_archs": (30, 9, "10 or more"),
    },
    "ensemble": {
        "n_archs101": (10, 9, "10 or more"),
        "n_archs_nlp": (20, 9, "10 or more"),
        "n_competitors": (12, -1, "0 or more"),
        "n_least": (12, 0, "1 or more"),
    },
    "figure02_scatter": {
        "n_archs101": (10, 9, "10 or more"),
        "n_archs_nlp": (10, 9, "10 or more"),
        "n_drawn": (423_624, 0, "1 or more"),
        "lowest": (9, 100.5, "from 0 to 100"),
        "highest_perplexity": (1e6, 1.0, "above 1"),
        "lowest_epsilon": (1e-9, 0.0, "above 0"),
        "seed": (2**32 - 1, 2**32, "from 0 to 4,294,967,295"),
    },
    "figure04_batch_size": {
        "batch_sizes": ([2, 7], [8], "two or more different numbers"),
        "n_archs": (10, 9, "10 or more"),
    },
    "figure05_search_metrics": {
        "unscored": ("zero", "last", "one of worst, zero, left out"),
        "signal": ("test", "run2", "one of validation200, validation12, run1, test"),
    },
    "figure06_other_metrics": {
        "n_archs": (10, 9, "10 or more"),
        "groups": (["naswot"], ["naswot", "naswot"], "one or more different ones of synflow"),
        "n_competitors": (0, -1, "0 or more"),
    },
    "metrics_relation": {
        "n_archs": (10, 9, "10 or more"),
        "groups": (["ntk", "synflow"], [], "one or more different ones of synflow"),
        "n_competitors": (0, -1, "0 or more"),
    },
    "noise_ceiling": {
        "n_archs": (40, 9, "10 or more"),
        "n_competitors": (12, -1, "0 or more"),
        "n_least": (10, 0, "1 or more"),
    },
    "search_budget": {
        "metrics": (
            ["params", "naswot"],
            ["params", "size"],
            "one or more different ones of",
        ),
        "budgets": ([7, 2], [0, 1], "numbers 1 or more"),
        "n_rounds": (1, 0, "1 or more"),
        "unscored": ("zero", "last", "one of worst, zero, left out"),
    },
    "search_nasbench101": {
        "n_pool": (10, 0, "1 or more"),
        "weights": ([10.0, 1e-4], [float("nan"), 1.0], MORE),
        "n_archs": (20, 9, "10 or more"),
    },
    "search_nasbench_nlp": {
        "n_pool": (10, 0, "1 or more"),
        "n_neighbours": (1, 0, "1 or more"),
        "weights": ([1e-3, 1e-5], [-1.0, 1.0], MORE),
        "n_archs": (20, 9, "10 or more"),
    },
    "table01_nasbench201": {
        "weights": ([1.0, 1e-7], [0.0, 1.0], MORE),
        "n_archs": (10, 9, "10 or more"),
        "n_resamples": (199, -1, "0 or more"),
        "later_groups": (["meco"], ["naswott"], "one or more different ones of"),
    },
    "table02_search": {
        "n_pool": (1, 0, "1 or more"),
        "n_small": (1, 0, "1 or more"),
        "n_rounds": (1, 0, "1 or more"),
        "unscored": ("left out", "best", "one of worst, zero, left out"),
        "epochs": (200, 90, "one of 12, 200"),
        "learning_rate": (0.5, 0.0, "above 0"),
        "n_bohb": (0, -1, "0 or more"),
        "n_archs": (10, 9, "10 or more"),
        "groups": (["naswot"], ["naswot", "naswot"], "one or more different ones of synflow"),
    },
    "table03_nasbench101": {
        "weights": ([10.0, 1e-4], [float("nan"), 1.0], MORE),
        "n_archs": (11, 9, "10 or more"),
        "n_resamples": (200, -1, "0 or more"),
        "batch_seeds": ([3], [-1], "numbers from 0 to 4,294,967,295"),
        "n_batch_archs": (10, 9, "10 or more"),
        "n_rounding": (10, 9, "10 or more"),
        "groups": (["synflow", "naswot"], ["linear_region"], "ones of synflow, gradients"),
        "n_competitors": (0, -1, "0 or more"),
        "architectures": ("common", "", "one of own, common, last"),
        "n_least": (423_624, 0, "1 or more"),
        "runs": (RUNS, "no-such-file.csv", "a file, or empty"),
        "n_recheck": (423_624, 0, "1 or more"),
    },
    "table04_nasbench_nlp": {
        "weights": ([1e-3, 1e-5], [-1.0, 1.0], MORE),
        "n_archs": (20, 9, "10 or more"),
        "groups": (["text_gradients"], ["naswott"], "ones of synflow"),
        "n_competitors": (0, -1, "0 or more"),
        "architectures": ("common", "all", "one of own, common, last"),
        "n_least": (14_322, 0, "1 or more"),
        "n_recheck": (14_322, 0, "1 or more"),
    },
    "table05_weights_nasbench101": {
        "weights": ([10.0, 0.5, 1e-4], [0.5], MORE),
        "n_archs": (10, 9, "10 or more"),
    },
    "table06_weights_nasbench201": {
        "dataset": ("ImageNet16-120", "ptb", "one of cifar10, cifar100, ImageNet16-120"),
        "weights": ([7.0, 3e-4, 0.5], [1.0, 0.5, 1.0], MORE),
        "n_archs": (10, 9, "10 or more"),
    },
    "table07_weights_nasbench_nlp": {
        "weights": ([1.0, 1e-7], [1 / 3, 1.0], f"{MORE}, of at most six digits each"),
        "n_archs": (20, 9, "10 or more"),
    },
    "table08_weights": {
        "exponents": ([0, -3, 2], [0], "two or more different numbers"),
        "largest_share": (1, 0.0, "above 0 and at most 1"),
        "n_archs": (10, 9, "10 or more"),
    },
    "table09_initialisations": {
        "n_archs": (10, 9, "10 or more"),
        "n_draws": (0, -1, "0 or more"),
    },
    "table10_embeddings": {
        "weights": ([1e-3, 1e-5], [1e-3], MORE),
        "n_archs": (20, 9, "10 or more"),
    },
    "table11_synthetic_inputs": {
        "n_archs": (10, 9, "10 or more"),
        "n_batch_archs": (11, 9, "10 or more"),
    },
    "unseen_space": {
        "rule": ("spread", "tallest", "one of published"),
        "n_deciding": (11, 9, "10 or more"),
        "n_archs": (30, 9, "10 or more"),
        "n_few": (30, 9, "10 or more"),
        "groups": (["naswot"], ["naswott"], "naswot"),
        "n_competitors": (2, -1, "0 or more"),
    },
    "weights_without_training": {
        "n_archs": (10, 9, "10 or more"),
        "n_rounds": (1, 0, "1 or more"),
        "n_evaluated": (20, 9, "10 or more"),
        "n_resamples": (200, -1, "0 or more"),
    },
    "width_collapse": {
        "n_archs": (2, 0, "1 or more"),
        "n_archs101": (2, 0, "1 or more"),
        "n_archs_nlp": (2, 0, "1 or more"),
        "image_size": (4, 0, "a multiple of 4"),
        "dtypes": (["float32"], ["float16"], "one or more different ones of float32, float64"),
        "n_speed_archs": (2, 0, "1 or more"),
        "speed_batch_size": (3, 1, "2 or more"),
        "speed_image_size": (12, 9, "a multiple of 4"),
    },
}
# Notebook -> parameter -> the three. test_book.py executes a notebook once with all its unusual
# values.
CASES = {
    name: {key: OWN.get(name, {}).get(key) or COMMON[key] for key in parameters.defaults(name)}
    for name in parameters.names()
}
