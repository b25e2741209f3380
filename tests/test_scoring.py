"""Scores of many architectures: stored, resumed, never reused wrongly."""

import json
import logging
import os
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace

import joblib
import numpy as np
import pandas as pd
import pytest

from epsutil import inputs, scoring, spaces, store

SPACE = spaces.get("nasbench201")
BATCH = inputs.batch("grey", batch_size=6, image_size=8)
SOME = list(range(40))


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "scores"


def score(folder, archs=SOME, **options):
    return scoring.score("nasbench201", BATCH, archs=archs, folder=folder, n_jobs=1, **options)


def count_chunks(monkeypatch):
    calls = []
    original = scoring._score_chunk

    def counted(*arguments):
        calls.append([index for _, index in arguments[3]])
        return original(*arguments)

    monkeypatch.setattr(scoring, "_score_chunk", counted)
    return calls


def test_scores_are_those_of_the_space(folder):
    frame = score(folder)
    assert frame.index.tolist() == SOME
    expected = [SPACE.score(SPACE[i], BATCH.x) for i in SOME]
    np.testing.assert_array_equal(frame["1e-07,1"], expected)
    assert frame["1e-07,1"].isna().any() and frame["1e-07,1"].notna().any()


def test_all_pairs_of_several_weights(folder):
    frame = score(folder, weights=(1e-3, 0.1, 1.0))
    assert frame.columns.tolist() == ["0.001,0.1", "0.001,1", "0.1,1"]
    expected = [SPACE.score(SPACE[i], BATCH.x, (0.1, 1.0)) for i in SOME]
    np.testing.assert_array_equal(frame["0.1,1"], expected)


def test_equal_functions_are_evaluated_once(folder, monkeypatch):
    archs = []
    original = scoring._score_chunk
    monkeypatch.setattr(scoring, "_score_chunk", lambda *a: (archs.extend(a[3]), original(*a))[1])
    dead = [i for i in range(400) if SPACE.key(SPACE[i]) == "0"]
    assert len(dead) > 1
    assert score(folder, archs=dead)["1e-07,1"].isna().all()
    assert len(archs) == 1


def test_what_is_stored_is_not_computed_again(folder, monkeypatch):
    first = score(folder)
    calls = count_chunks(monkeypatch)
    second = score(folder)
    assert not calls
    pd.testing.assert_frame_equal(first, second)
    assert second.attrs["run"]["input_checksum"] == BATCH.checksum
    assert second.attrs["run"]["version"] == scoring.version(SPACE)


def test_rebuild_computes_again(folder, monkeypatch):
    score(folder)
    calls = count_chunks(monkeypatch)
    score(folder, rebuild=True)
    assert calls


@pytest.mark.parametrize(
    "other",
    [{"weights": (1e-3, 1.0)}, {"dtype": "float64"}, {"archs": list(range(41))}],
    ids=["weights", "dtype", "archs"],
)
def test_other_parameters_are_another_file(folder, monkeypatch, other):
    score(folder)
    calls = count_chunks(monkeypatch)
    score(folder, **other)
    assert calls and len(list(folder.glob("*.parquet"))) == 2


def test_another_input_is_another_file(folder, monkeypatch):
    score(folder)
    x = BATCH.x.copy()
    x[0, 0, 0, 0] += 1e-6
    calls = count_chunks(monkeypatch)
    scoring.score("nasbench201", replace(BATCH, x=x), archs=SOME, folder=folder, n_jobs=1)
    assert calls


def test_a_seed_that_changes_no_input_finds_the_same_file(folder, monkeypatch):
    score(folder)
    calls = count_chunks(monkeypatch)
    other = inputs.batch("grey", batch_size=6, seed=5, image_size=8)
    scoring.score("nasbench201", other, archs=SOME, folder=folder, n_jobs=1)
    assert not calls


@pytest.mark.parametrize("owner", ["epsutil.metric", "epsutil.spaces.nasbench201.NASBench201"])
def test_another_version_is_a_miss(folder, monkeypatch, owner):
    score(folder)
    monkeypatch.setattr(f"{owner}.VERSION", 2)
    calls = count_chunks(monkeypatch)
    score(folder)
    assert calls and len(list(folder.glob("*.parquet"))) == 2


def test_a_file_of_another_run_is_refused_and_named(folder):
    score(folder)
    (path,) = folder.glob("*.parquet")
    frame = store.read(path)
    frame.attrs["run"] |= {"input_checksum": BATCH.checksum[:8] + "0" * 56}
    store.write(path, frame)
    with pytest.raises(store.StoreError, match=f"{path.name}.*another input_checksum.*rebuild"):
        score(folder)


@pytest.mark.parametrize("damage", ["truncated", "text", "empty"])
def test_a_damaged_file_is_refused_and_named(folder, damage):
    score(folder)
    (path,) = folder.glob("*.parquet")
    whole = path.read_bytes()
    path.write_bytes({"truncated": whole[:-50], "text": b"no scores", "empty": b""}[damage])
    with pytest.raises(store.StoreError, match=f"{path.name}.*rebuild"):
        score(folder)
    assert len(score(folder, rebuild=True)) == len(score(folder))


def test_a_parquet_file_without_metadata_is_refused(folder):
    score(folder)
    (path,) = folder.glob("*.parquet")
    pd.read_parquet(path).reset_index().to_parquet(path)
    with pytest.raises(store.StoreError, match="not a readable file of scores"):
        score(folder)


def test_outdated_files_are_removed(folder):
    score(folder)
    (path,) = folder.glob("*.parquet")
    assert not scoring.remove_outdated(folder)
    frame = store.read(path)
    frame.attrs["run"] = frame.attrs["run"] | {"version": "0.1"}
    store.write(path, frame)
    frame.attrs["run"] |= {"group": "synflow"}  # a store of competing metrics stays
    store.write(folder / "hours.parquet", frame)
    assert scoring.remove_outdated(folder) == [path] and not path.exists()
    assert (folder / "hours.parquet").exists()


# Interruptions -------------------------------------------------------------------------------


def test_an_interrupted_run_continues(folder, monkeypatch, caplog):
    monkeypatch.setattr(scoring, "CHUNK", 5)
    original, calls = scoring._score_chunk, []

    def failing(*arguments):
        calls.append([index for _, index in arguments[3]])
        if len(calls) == 3:
            raise KeyboardInterrupt
        return original(*arguments)

    monkeypatch.setattr(scoring, "_score_chunk", failing)
    with pytest.raises(KeyboardInterrupt):
        score(folder)
    assert not list(folder.glob("*.parquet"))
    with caplog.at_level(logging.INFO):
        frame = score(folder)
    assert "10 networks are done" in caplog.text
    assert calls.count(calls[0]) == calls.count(calls[1]) == 1  # not done again
    monkeypatch.setattr(scoring, "_score_chunk", original)
    pd.testing.assert_frame_equal(frame, score(folder, rebuild=True), check_flags=False)
    assert not list(folder.glob("*.partial"))


def test_a_damaged_chunk_is_computed_again(folder, monkeypatch):
    monkeypatch.setattr(scoring, "CHUNK", 5)
    monkeypatch.setattr(store.Chunks, "remove", lambda self: None)
    frame = score(folder)
    (path,) = folder.glob("*.parquet")
    path.unlink()
    (partial,) = folder.glob("*.partial")
    damaged = sorted(partial.glob("*.json"))[2]
    lost = json.loads(damaged.read_text())
    damaged.write_bytes(b'{"half')
    calls = count_chunks(monkeypatch)
    pd.testing.assert_frame_equal(frame, score(folder), check_flags=False)
    assert [SPACE.key(SPACE[index]) for index in calls[0]] == list(lost) and len(calls) == 1


@pytest.mark.skipif(os.name != "posix", reason="kills a process")
def test_a_killed_run_loses_at_most_the_chunks_under_way(folder, tmp_path):
    program = textwrap.dedent(
        f"""
        import sys
        from pathlib import Path
        from epsutil import inputs, scoring
        scoring.CHUNK = 4
        batch = inputs.batch("grey", batch_size=64, image_size=32)
        folder = Path({str(folder)!r})
        scoring.score("nasbench201", batch, archs=range(400), folder=folder, n_jobs=1)
        """
    )
    process = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while len(list(folder.glob("*.partial/*.json"))) < 3 and time.monotonic() < deadline:
        assert process.poll() is None, "finished before it could be killed"
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = list(folder.glob("*.partial/*.json"))
    assert len(done) >= 3 and not list(folder.glob("*.parquet"))
    rows = [json.loads(file.read_text()) for file in done]  # nothing half-written
    assert all(len(of_chunk) == 4 for of_chunk in rows)


# Elsewhere -----------------------------------------------------------------------------------


def test_processes_give_the_same_scores(folder, tmp_path):
    alone = score(folder)
    parallel = scoring.score("nasbench201", BATCH, archs=SOME, folder=tmp_path, n_jobs=2)
    pd.testing.assert_frame_equal(alone, parallel, check_flags=False)


def test_a_dask_cluster_can_take_the_work(folder, monkeypatch):
    distributed = pytest.importorskip("distributed")
    monkeypatch.setattr(scoring, "CHUNK", 10)
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
        joblib.parallel_config(backend="dask"),
    ):
        frame = scoring.score("nasbench201", BATCH, archs=SOME, folder=folder)
        ran = client.run(lambda dask_worker: dask_worker.state.transition_counter)
    assert sum(ran.values()) > 0, "the cluster did nothing"
    np.testing.assert_array_equal(frame["1e-07,1"], [SPACE.score(SPACE[i], BATCH.x) for i in SOME])


# Early errors --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weights": (1.0,)}, "two or more"),
        ({"weights": (1.0, 1.0)}, "different"),
        ({"weights": (1.0, np.inf)}, "finite"),
        ({"dtype": "float16"}, "not evaluated in 'float16', but in float32, float64, ext"),
        ({"archs": []}, "one or more"),
        ({"archs": [15625]}, "0 to 15,624"),
        ({"archs": [1, 1]}, "different"),
        ({"archs": [0.5]}, "indices"),
    ],
)
def test_wrong_arguments_are_named(folder, change, message):
    with pytest.raises(ValueError, match=message):
        score(folder, **change)
    assert not folder.exists()


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros((1, 3, 8, 8)), "batch of one"),
        (np.ones((4, 3, 8, 8)), "all inputs of the batch are equal"),
        (np.full((4, 3, 8, 8), np.nan), "NaN"),
    ],
)
def test_a_batch_without_any_score_is_refused(folder, x, message):
    with pytest.raises(ValueError, match=message):
        scoring.score("nasbench201", replace(BATCH, x=x.astype("float32")), folder=folder)


def test_samples_are_distinct_and_repeatable():
    first = scoring.sample("nasbench201", 500, seed=3)
    assert len(set(first)) == 500 and (first == scoring.sample("nasbench201", 500, seed=3)).all()
    with pytest.raises(ValueError, match="n_archs is 20000"):
        scoring.sample("nasbench201", 20000)


def test_a_sample_is_taken_from_the_whole_space(folder, monkeypatch):
    monkeypatch.setattr(spaces.get("nasbench201").__class__, "__len__", lambda self: 40)
    whole = score(folder, archs=None)
    calls = count_chunks(monkeypatch)
    pd.testing.assert_frame_equal(score(folder, archs=[3, 1]), whole.loc[[3, 1]])
    assert not calls


def test_chunks_survive_that_another_process_stores_the_run(tmp_path, monkeypatch):
    """Two pages of the book may compute the same scores at once."""
    run = store.Run(
        space="nasbench201", dataset="grey", group="epsilon", batch_size=8,
        input_checksum="0", version="1.1", archs="all",
    )  # fmt: skip
    mine = store.Chunks(tmp_path, run)
    mine.write({"a": (1.0,)})
    assert mine.read() == {"a": (1.0,)}
    replace = os.replace

    def removed_first(source, target):
        store.Chunks(tmp_path, run).remove()
        replace(source, target)

    monkeypatch.setattr(store.os, "replace", removed_first)
    mine.write({"b": (2.0,)})
    assert mine.read() == {}


def test_a_bare_array_is_no_batch():
    with pytest.raises(TypeError, match="what epsutil.inputs.batch returns, not of type ndarray"):
        scoring.score("nasbench201", np.zeros((2, 3, 8, 8)))
