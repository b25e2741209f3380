"""Every committed store of scores is what this code computes, on a few of its architectures.

Where one of these fails and the change of scores is meant, raise the ``VERSION`` that the message
names, and record the stores anew (CONTRIBUTING.md). Of the
slow ones and of the cheap ones some, chosen by the commit; `make test-slow` tries all cheap ones,
``EPSUTIL_RECORDED=all`` all.
"""

import os
import subprocess

import numpy as np
import pandas as pd
import pytest
from sweep import THOROUGH

from epsutil import inputs, paths, scoring, sources, spaces, store

STORES = {path.name: store.read(path) for path in sorted(paths.RECORDED_SCORES.iterdir())}
RUNS = {name: frame.attrs["run"] for name, frame in STORES.items()}
CHEAP = [  # seconds are for one network, where they count; epsilon takes milliseconds
    name
    for name, frame in STORES.items()
    if frame.get(scoring.SECONDS, pd.Series(0.0)).mean() < 0.5
]
IN_TURN = [name for name in RUNS if name not in CHEAP]
head = ["git", "-C", str(paths.ROOT), "rev-parse", "HEAD"]
TURN = int(subprocess.run(head, capture_output=True, text=True).stdout.strip() or "0", 16)
ALL = os.environ.get("EPSUTIL_RECORDED") == "all"
SLOW = IN_TURN if ALL else [IN_TURN[TURN % len(IN_TURN)]]
TRIED = CHEAP if ALL or THOROUGH else CHEAP[TURN % 4 :: 4]


def test_every_store_is_named_by_what_decides_it():
    assert RUNS
    for name, run in RUNS.items():
        fields = {field: run[field] for field in store.Run.__dataclass_fields__}
        fields["weights"] = tuple(fields["weights"])
        assert store.Run(**fields).name == name
        assert len(list((paths.RECORDED_SCORES / name).iterdir())) == 1  # compact


def test_every_store_is_of_this_version():
    for name, run in RUNS.items():
        now = scoring.version(spaces.get(run["space"]), run["group"])
        assert run["version"] == now, f"{name} is of another version; record it anew, or remove it"


@pytest.mark.sweep
@pytest.mark.parametrize("name", TRIED)
def test_a_few_scores_are_computed_equal(name, tmp_path):
    _compare(name, tmp_path, n_archs=3)


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW)
def test_a_score_of_a_slow_store_is_computed_equal(name, tmp_path):
    _compare(name, tmp_path, n_archs=1)


def _compare(name, tmp_path, n_archs):
    run = RUNS[name]
    missing = [source for source in _needs(run) if not sources.available(source)]
    if missing:
        pytest.skip(f"not at hand: {', '.join(missing)} (set EPSUTIL_DATA)")
    stored = STORES[name]
    options = {"n_jobs": 1, "rebuild": True, "folder": tmp_path}
    if run["group"] != "epsilon":
        archs = scoring.order(run["space"])[:n_archs]
        anew = scoring.score_group(
            run["space"], run["dataset"], run["group"], n_archs, run["seed"], **options
        )
        anew = anew.drop(columns=scoring.SECONDS)
        which = f"that of the metric, proxies.VERSION or {run['space']}.VERSION"
    else:
        archs = np.random.default_rng(0).choice(stored.index, n_archs, replace=False)
        batch = inputs.batch(run["dataset"], run["batch_size"], run["input_seed"])
        anew = scoring.score(run["space"], batch, run["weights"], archs, run["dtype"], **options)
        which = f"metric.VERSION or {run['space']}.VERSION"
    np.testing.assert_allclose(
        anew.loc[archs].to_numpy(),
        stored.loc[archs, anew.columns].to_numpy(),
        # Gradients in float32 differ by up to half a percent between processors.
        rtol=1e-4 if run["group"] == "epsilon" else 1e-2,
        atol=1e-5,
        err_msg=f"{name}: the code computes other scores; if so it should be, raise {which}",
    )


def _needs(run):
    needed = inputs.needs(run["dataset"])
    if run["group"] != "epsilon" and scoring.GROUPS[run["group"]].data == "shape":
        needed = ()
    nlp = run["space"].startswith("nasbench_nlp")
    return (*needed, "nas-bench-nlp/ptb_single_run.csv.gz") if nlp else needed
