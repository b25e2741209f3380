"""Every committed store of scores is what this code computes, on a few of its architectures.

Where one of these fails and the change of scores is meant, raise the ``VERSION`` that the message
names, and record the stores anew (CONTRIBUTING.md). Cheap stores are tried at every run, of the
slow ones another one every day; ``EPSUTIL_RECORDED=all`` tries all of them.
"""

import os
from datetime import date

import numpy as np
import pytest

from epsutil import inputs, paths, proxy_scoring, scoring, sources, spaces

STORES = sorted(paths.RECORDED_SCORES.glob("*.parquet"))
SLOW = ("gradients", "text_gradients", "fisher_biased", "naswot", "grad_sign", "cv", "ntk", "draws",
        "draws_averaged")  # fmt: skip
RUNS = {path.name: scoring.read(path).attrs["run"] for path in STORES}
CHEAP = [name for name, run in RUNS.items() if run.get("group") not in SLOW]
IN_TURN = [name for name in RUNS if name not in CHEAP]
TRIED = IN_TURN
if os.environ.get("EPSUTIL_RECORDED") != "all":
    TRIED = [IN_TURN[date.today().toordinal() % len(IN_TURN)]]


def test_every_store_is_named_by_what_decides_it():
    assert RUNS
    for name, run in RUNS.items():
        kind = proxy_scoring.Run if "group" in run else scoring.Run
        fields = {field: run[field] for field in kind.__dataclass_fields__}
        if "weights" in fields:
            fields["weights"] = tuple(fields["weights"])
        assert kind(**fields).filename == name


def test_every_store_is_of_this_version():
    for name, run in RUNS.items():
        space = spaces.get(run["space"])
        group = run.get("group")
        now = proxy_scoring.version(space, group) if group else scoring.version(space)
        assert run["version"] == now, f"{name} is of another version; record it anew, or remove it"


@pytest.mark.parametrize("name", CHEAP)
def test_a_few_scores_are_computed_equal(name, tmp_path):
    _compare(name, tmp_path, n_archs=3)


@pytest.mark.parametrize("name", TRIED)
def test_a_score_of_a_slow_store_is_computed_equal(name, tmp_path):
    _compare(name, tmp_path, n_archs=1)


def _compare(name, tmp_path, n_archs):
    run = RUNS[name]
    missing = [source for source in _needs(run) if not sources.available(source)]
    if missing:
        pytest.skip(f"not at hand: {', '.join(missing)} (set EPSUTIL_DATA)")
    stored = scoring.read(paths.RECORDED_SCORES / name)
    options = {"n_jobs": 1, "rebuild": True, "folder": tmp_path}
    if "group" in run:
        archs = proxy_scoring.order(run["space"])[:n_archs]
        anew = proxy_scoring.score(
            run["space"], run["dataset"], run["group"], n_archs, run["seed"], **options
        )
        anew = anew.drop(columns=proxy_scoring.SECONDS)
        which = f"that of the metric, proxies.VERSION or {run['space']}.VERSION"
    else:
        archs = np.random.default_rng(0).choice(stored.index, n_archs, replace=False)
        batch = inputs.batch(run["kind"], run["batch_size"], run["seed"])
        anew = scoring.score(run["space"], batch, run["weights"], archs, run["dtype"], **options)
        which = f"metric.VERSION or {run['space']}.VERSION"
    np.testing.assert_allclose(
        anew.loc[archs].to_numpy(),
        stored.loc[archs, anew.columns].to_numpy(),
        rtol=1e-3 if "group" in run else 1e-4,
        atol=1e-5,
        err_msg=f"{name}: the code computes other scores; if so it should be, raise {which}",
    )


def _needs(run):
    needed = inputs.needs(run.get("dataset") or run["kind"])
    if "group" in run and proxy_scoring.GROUPS[run["group"]].data == "shape":
        needed = ()
    nlp = run["space"].startswith("nasbench_nlp")
    return (*needed, "nas-bench-nlp/ptb_single_run.csv.gz") if nlp else needed
