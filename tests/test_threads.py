"""Several threads at once, each with its own batch: every score is that of its own images."""

import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import joblib
import numpy as np
import pytest
import torch

from epsutil import cross_checks, inputs, network_copy, proxies, scoring, spaces
from epsutil.collapse import maps

SOME = list(range(0, 15_600, 312))  # 50 of NAS-Bench-201
RECIPE = {"h_new_0": {"op": "linear", "input": ["x", "h_prev_0"]}}


def batches(space):
    if space.reads == "tokens":
        return [inputs.batch("random_tokens", 8, seed=seed) for seed in (1, 2)]
    return [inputs.batch("normal", 8, seed, image_size=8) for seed in (1, 2)]


@pytest.fixture
def switching():
    """Let threads take turns as often as they can."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(usual)


@pytest.mark.parametrize("as_prepared", [False, True], ids=["arrays", "prepared"])
@pytest.mark.parametrize("name", spaces.names())
def test_threads_evaluate_their_own_batch(name, as_prepared, switching):
    space = spaces.get(name)
    both = [batch.x for batch in batches(space)]
    tokens = space.reads == "tokens"  # its recipes need data
    archs = [RECIPE] if tokens else space[7 :: len(space) // 5]
    # One by one, each batch and each weight alone: there is nothing that could be of another one.
    expected = [
        [np.concatenate([space.outputs(arch, x, [w]) for w in space.weights]) for arch in archs]
        for x in both
    ]
    assert not np.array_equal(*expected) and np.isfinite(expected).all()
    given = [space.prepare(x) for x in both] if as_prepared else both
    jobs = [(n % 2, n // 2 % len(archs)) for n in range(400)]
    with ThreadPoolExecutor(4) as pool:
        found = pool.map(
            lambda job: space.outputs(archs[job[1]], given[job[0]], space.weights), jobs
        )
        for (of, arch), outputs in zip(jobs, found, strict=True):
            np.testing.assert_array_equal(outputs, expected[of][arch])


def stored(batch, folder, archs=SOME, **options):
    frame = scoring.score("nasbench201", batch, archs=archs, folder=folder, **options)
    return frame["1e-07,1"]


def expected_of(batch):
    space = spaces.get("nasbench201")
    return [space.score(space[i], batch.x.copy()) for i in SOME]


def test_threads_store_their_own_scores(tmp_path, switching):
    some = [inputs.batch("normal", 8, seed, image_size=8) for seed in range(8)]
    expected = [expected_of(batch) for batch in some]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda batch: stored(batch, tmp_path, n_jobs=1), some))
    found = [stored(batch, tmp_path, largest=1) for batch in some]  # read
    np.testing.assert_array_equal(found, expected)


def test_what_another_thread_makes_late_is_not_taken(tmp_path, monkeypatch):
    """Another batch's stem is begun before, and done between, two calls for one batch."""
    mine, other = batches(spaces.get("nasbench201"))
    expected = expected_of(mine), expected_of(other)
    begun, go, stem = threading.Event(), threading.Event(), maps.stem

    def late(colours, w):
        if w == 1 and threading.current_thread() is not threading.main_thread():
            begun.set()
            assert go.wait(60)
        return stem(colours, w)

    monkeypatch.setattr(maps, "stem", late)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(stored, other, tmp_path, [8], n_jobs=1)
        assert begun.wait(60)
        stored(mine, tmp_path, [8], n_jobs=1)
        go.set()
        running.result()
    found = stored(mine, tmp_path, n_jobs=1), stored(other, tmp_path, n_jobs=1)
    np.testing.assert_array_equal(found, expected)


def test_a_dask_cluster_scores_two_batches_at_once(tmp_path, monkeypatch):
    distributed = pytest.importorskip("distributed")
    monkeypatch.setattr(scoring, "CHUNK", 10)
    both = batches(spaces.get("nasbench201"))

    def ask(batch):
        with joblib.parallel_config(backend="dask"):
            return stored(batch, tmp_path)

    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=2, processes=True, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
        ThreadPoolExecutor(2) as pool,
    ):
        client.run(sys.setswitchinterval, 1e-5)
        found = list(pool.map(ask, both))
        ran = client.run(lambda dask_worker: dask_worker.state.transition_counter)
    assert len(ran) == 2 and sum(ran.values()) > 0, "the cluster did nothing"
    for batch, scores in zip(both, found, strict=True):
        np.testing.assert_array_equal(scores, expected_of(batch))


@pytest.fixture
def three_threads():
    usual = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(usual)


def test_the_number_of_torchs_threads_stays(three_threads, tmp_path, monkeypatch):
    batch, seen = inputs.batch("grey", 4, image_size=8), []
    spied = scoring.proxies.compute
    monkeypatch.setattr(
        scoring.proxies,
        "compute",
        lambda *arguments: seen.append(torch.get_num_threads()) or spied(*arguments),
    )
    stored(batch, tmp_path, n_jobs=1)
    assert torch.get_num_threads() == 3
    scoring.score_group("nasbench201", "normal", "synflow", 2, n_jobs=1, folder=tmp_path)
    assert torch.get_num_threads() == 3 and set(seen) == {1}
    cross_checks.compare("nasbench201", batch, 1, 0, ["float32"])
    assert torch.get_num_threads() == 3
    with pytest.raises(ZeroDivisionError), network_copy.one_thread():
        1 / 0  # noqa: B018
    assert torch.get_num_threads() == 3


def test_nor_do_threads_that_come_at_once_change_it(three_threads):
    """A new thread has the number that was set last, by whatever thread."""
    inside, left = threading.Barrier(2), threading.Event()

    def first():
        with network_copy.one_thread():
            inside.wait()
            inside.wait()
        left.set()

    def second():
        inside.wait()
        with network_copy.one_thread():
            inside.wait()
            left.wait()
            assert torch.get_num_threads() == 1
        return torch.get_num_threads()

    with ThreadPoolExecutor(2) as pool:
        one, other = pool.submit(first), pool.submit(second)
        one.result()
        assert other.result() == 3
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(torch.get_num_threads).result() == 3


def test_threads_score_networks_of_a_users_own_as_one_thread_does():
    """Torch's random states and switches are the process's: networks take turns."""
    space = spaces.get("nasbench201")
    x, labels = torch.rand(8, 3, 8, 8), torch.arange(8) % 3
    archs = [space[i] for i in (1, 9930)] * 2

    def score(arch):
        names = ["grad_norm", "synflow", "snip"]
        return proxies.compute(space.network(arch, 3), (x, labels), names, seed=1)

    expected = [score(arch) for arch in archs]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(score, archs)) == expected
