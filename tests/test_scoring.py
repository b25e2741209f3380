"""Scores of many architectures: stored, resumed, never reused wrongly."""

import logging
import multiprocessing
import os
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
        calls.append([index for _, index in arguments[-1]])
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
    monkeypatch.setattr(scoring, "_score_chunk", lambda *a: (archs.extend(a[-1]), original(*a))[1])
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
    [{"weights": (1e-3, 1.0)}, {"dtype": "float64"}],
    ids=["weights", "dtype"],
)
def test_other_parameters_are_another_store(folder, monkeypatch, other):
    score(folder)
    calls = count_chunks(monkeypatch)
    score(folder, **other)
    assert calls and len(list(folder.iterdir())) == 2


def test_another_input_is_another_store(folder, monkeypatch):
    score(folder)
    x = BATCH.x.copy()
    x[0, 0, 0, 0] += 1e-6
    calls = count_chunks(monkeypatch)
    scoring.score("nasbench201", replace(BATCH, x=x), archs=SOME, folder=folder, n_jobs=1)
    assert calls


def test_a_seed_that_changes_no_input_finds_the_same_store(folder, monkeypatch):
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
    assert calls and len(list(folder.iterdir())) == 2


def test_a_file_of_another_run_is_refused_and_named(folder):
    score(folder)
    (path,) = folder.glob("*/*.parquet")
    frame = store.read(path.parent)
    frame.attrs["run"] |= {"input_checksum": BATCH.checksum[:8] + "0" * 56}
    path.unlink()
    path = store.write(path.parent, frame)
    with pytest.raises(store.StoreError, match=f"{path.name}.*another input_checksum.*rebuild"):
        score(folder)


@pytest.mark.parametrize("damage", ["truncated", "text", "empty"])
def test_a_damaged_file_is_refused_and_named(folder, damage):
    score(folder)
    (path,) = folder.glob("*/*.parquet")
    whole = path.read_bytes()
    path.write_bytes({"truncated": whole[:-50], "text": b"no scores", "empty": b""}[damage])
    with pytest.raises(store.StoreError, match=f"{path.name}.*rebuild"):
        score(folder)
    assert len(score(folder, rebuild=True)) == len(score(folder))


def test_a_parquet_file_without_metadata_is_refused(folder):
    score(folder)
    (path,) = folder.glob("*/*.parquet")
    pd.read_parquet(path).reset_index().to_parquet(path)
    with pytest.raises(store.StoreError, match="not a readable file of scores"):
        score(folder)


def test_outdated_stores_are_removed(folder):
    score(folder)
    (path,) = folder.iterdir()
    assert not scoring.remove_outdated(folder)
    frame = store.read(path)
    frame.attrs["run"] |= {"version": "0.1"}
    old = store.write(folder / "old-v0.1", frame).parent
    frame.attrs["run"] |= {"group": "synflow"}  # a store of competing metrics stays
    hours = store.write(folder / "hours-v0.1", frame)
    assert scoring.remove_outdated(folder) == [old] and not old.exists()
    assert hours.exists() and path.exists()


# A store grows, and nothing is lost ------------------------------------------------------------


def noted(monkeypatch, value):
    """Let what is computed from here on be a value that tells where it comes from."""
    asked = []

    def chunk(*arguments):
        asked.extend(index for _, index in arguments[-1])
        return {key: (value,) for key, _ in arguments[-1]}

    monkeypatch.setattr(scoring, "_score_chunk", chunk)
    return asked


def different(n):
    """Return the first architectures of so many different functions."""
    first = {}
    for index in range(400):
        first.setdefault(SPACE.key(SPACE[index]), index)
    return list(first.values())[:n]


def test_a_sample_takes_from_a_larger_one_and_adds_what_it_lacks(folder, monkeypatch):
    archs = different(12)
    noted(monkeypatch, 1.0)
    score(folder, archs[:8])
    asked = noted(monkeypatch, 2.0)
    assert score(folder, archs[4:])["1e-07,1"].tolist() == [1.0] * 4 + [2.0] * 4
    assert asked == archs[8:]
    assert score(folder, archs)["1e-07,1"].tolist() == [1.0] * 8 + [2.0] * 4
    assert asked == archs[8:] and len(list(folder.iterdir())) == 1
    made = score(folder, archs).attrs["run"]
    assert made["networks"] == 12 and made["seconds"] >= 0


def test_a_rebuild_of_some_leaves_the_others_and_lasts(folder, monkeypatch):
    archs = different(12)
    noted(monkeypatch, 1.0)
    score(folder, archs)
    for value in (2.0, 3.0):
        noted(monkeypatch, value)
        assert (score(folder, archs[:3], rebuild=True)["1e-07,1"] == value).all()
        expected = [value] * 3 + [1.0] * 9
        assert score(folder, archs)["1e-07,1"].tolist() == expected
    assert len(list(folder.glob("*/*"))) == 2  # what was replaced is gone


def test_a_rebuild_is_found_before_what_the_project_has_recorded(folder, monkeypatch, tmp_path):
    archs = different(6)
    monkeypatch.setattr(scoring.paths, "RECORDED_SCORES", tmp_path / "recorded")
    noted(monkeypatch, 1.0)
    score(tmp_path / "recorded", archs)
    noted(monkeypatch, 2.0)
    assert (score(folder, archs)["1e-07,1"] == 1.0).all() and not folder.exists()
    score(folder, archs[:2], rebuild=True)
    assert score(folder, archs)["1e-07,1"].tolist() == [2.0] * 2 + [1.0] * 4
    (recorded,) = (tmp_path / "recorded").iterdir()
    assert (store.read(recorded)["1e-07,1"] == 1.0).all()


def test_what_is_recorded_counts_before_an_older_or_newer_copy(folder, monkeypatch, tmp_path):
    """Nothing was rebuilt, so pages show the recorded values to the bit."""
    archs = different(4)
    noted(monkeypatch, 2.0)
    score(folder, archs)
    monkeypatch.setattr(scoring.paths, "RECORDED_SCORES", tmp_path / "recorded")
    noted(monkeypatch, 1.0)
    score(tmp_path / "recorded", archs)
    assert (score(folder, archs)["1e-07,1"] == 1.0).all()


def test_a_copy_of_a_stored_network_is_not_computed_and_keeps_its_origin(folder, monkeypatch):
    key = SPACE.key(SPACE[1])
    copies = [i for i in range(15_625) if SPACE.key(SPACE[i]) == key]
    monkeypatch.setattr(store.platform, "machine", lambda: "abacus")
    first = score(folder, copies[:1])
    monkeypatch.undo()
    monkeypatch.setattr(scoring, "_score_chunk", lambda *_: pytest.fail("computed"))
    frame = score(folder, copies)
    assert len(copies) > 1 and (frame["1e-07,1"] == first["1e-07,1"].item()).all()
    assert frame.attrs["run"]["networks"] == 1 and "abacus" in frame.attrs["run"]["machine"]


def test_machines_are_kept_apart(folder, monkeypatch):
    archs = different(9)
    for n, name in ((3, "abacus"), (6, "laptop"), (9, "laptop")):
        monkeypatch.setattr(store.platform, "machine", lambda name=name: name)
        frame = score(folder, archs[:n])
    (path,) = folder.iterdir()
    made = [part.attrs["run"]["machine"].split(",")[0] for part in store.parts(path).values()]
    assert made == ["abacus", "laptop"]
    origins = [origin["machine"].split(",")[0] for origin in frame.attrs["run"]["origins"]]
    assert origins == made and frame.attrs["run"]["networks"] == 9


def part(values, created, **made):
    run = {"created": f"2026-01-0{created}", "seconds": 1.5, "networks": len(values), "rebuilt": 0}
    frame = pd.DataFrame({"score": values.values()}, pd.Index(values, name="index"))
    frame.attrs["run"] = run | {"machine": "abacus"} | made
    return frame


def test_which_row_counts(tmp_path):
    """The last rebuild's, then the first store's, then the oldest; merging changes nothing."""
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    store.write(ours, part({1: 1.0, 2: 1.0}, created=3))
    store.write(ours, part({1: 2.0, 2: 2.0, 3: 2.0}, created=5))
    store.write(theirs, part({1: 3.0, 2: 3.0, 3: 3.0, 4: 3.0}, created=1))
    store.write(theirs, part({4: 4.0, 5: 4.0}, created=2, machine="laptop"))
    store.write(theirs, part({2: 5.0}, created=2, rebuilt=1))
    store.write(theirs, part({6: 6.0, 4: 6.0}, created=4))
    for _ in range(3):
        frame = store.read(ours, theirs)
        assert frame["score"].to_dict() == {1: 1.0, 2: 5.0, 3: 2.0, 4: 3.0, 5: 4.0, 6: 6.0}
        assert frame.attrs["run"]["created"] == "2026-01-05"
        store.compact(ours), store.compact(theirs)
    assert len(list(ours.iterdir())) == 1
    assert len(list(theirs.iterdir())) == 4  # another machine's rows lie between two of one's
    made = store.read(theirs).attrs["run"]
    assert made["networks"] == 1 + 4 + 2 + 2 and made["seconds"] == 6.0
    origins = [(origin["machine"], origin["rebuilt"]) for origin in made["origins"]]
    assert origins == [("abacus", 1), ("abacus", 0), ("laptop", 0)]


def test_a_reader_meets_a_merge(tmp_path, monkeypatch):
    """The files that it has listed vanish, and their rows are in one that it has not."""
    store.write(tmp_path, part({1: 1.0}, created=1))
    store.write(tmp_path, part({2: 2.0}, created=2))
    original, merged = store._read, []

    def read(path, run):
        if not merged:
            merged.append(path)
            monkeypatch.setattr(store, "_read", original)
            store.compact(tmp_path)
            monkeypatch.setattr(store, "_read", read)
        return original(path, run)

    monkeypatch.setattr(store, "_read", read)
    assert store.read(tmp_path)["score"].to_dict() == {1: 1.0, 2: 2.0}
    assert len(list(tmp_path.iterdir())) == 1


def test_a_merge_that_is_killed_anywhere_loses_nothing(tmp_path, monkeypatch):
    values = {n: float(n) for n in range(6)}
    for n in range(6):
        store.write(tmp_path, part({n: float(n), 0: 9.0 if n else 0.0}, created=n + 1))
    for left in range(7):
        monkeypatch.setattr(store.Path, "unlink", dying(store.Path.unlink, after=left % 3))
        with pytest.raises(KeyboardInterrupt):
            store.compact(tmp_path)
            raise KeyboardInterrupt
        monkeypatch.undo()
        assert store.read(tmp_path)["score"].to_dict() == values
    store.compact(tmp_path)
    assert len(list(tmp_path.iterdir())) == 1


def dying(original, after):
    calls = []

    def unlink(path, **options):
        calls.append(path)
        if len(calls) > after:
            raise KeyboardInterrupt
        original(path, **options)

    return unlink


# Interruptions -------------------------------------------------------------------------------


def test_an_interrupted_run_continues(folder, monkeypatch, caplog):
    monkeypatch.setattr(scoring, "CHUNK", 5)
    archs = different(20)
    original, calls = scoring._score_chunk, []

    def failing(*arguments):
        calls.append([index for _, index in arguments[-1]])
        if len(calls) == 3:
            raise KeyboardInterrupt
        return original(*arguments)

    monkeypatch.setattr(scoring, "_score_chunk", failing)
    with pytest.raises(KeyboardInterrupt):
        score(folder, archs)
    assert len(list(folder.glob("*/part-*.parquet"))) == 2
    with caplog.at_level(logging.INFO):
        frame = score(folder, archs)
    assert "10 of 20 architectures are stored" in caplog.text
    assert calls.count(calls[0]) == calls.count(calls[1]) == 1  # not done again
    assert len(list(folder.glob("*/*"))) == 1
    monkeypatch.setattr(scoring, "_score_chunk", original)
    pd.testing.assert_frame_equal(frame, score(folder, archs, rebuild=True), check_flags=False)


@pytest.mark.parametrize("rebuild", [False, True])
def test_a_failing_disk_ends_the_run_at_the_first_chunk(folder, monkeypatch, rebuild):
    monkeypatch.setattr(scoring, "CHUNK", 5)
    calls = count_chunks(monkeypatch)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store.os, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        score(folder, rebuild=rebuild)
    assert len(calls) == 1


@pytest.mark.parametrize("place", ["file/scores", "/proc/scores"])
def test_an_unwritable_folder_is_named_before_the_first_network(tmp_path, monkeypatch, place):
    (tmp_path / "file").write_text("no folder")
    calls = count_chunks(monkeypatch)
    with pytest.raises(ValueError, match="cannot write to .*scores.*EPSUTIL_SCORES or EPSUTIL_CA"):
        score(tmp_path / place)
    assert not calls


def _waiting_run(pipe, archs, folder):
    """Score in another process, which waits after each part that it has written."""
    written = store.write

    def write(place, frame):
        path = written(place, frame)
        pipe.send(frame.index.tolist())
        pipe.recv()
        return path

    store.write, scoring.CHUNK = write, 4
    score(folder, archs)
    pipe.send([])


class Process:
    context = multiprocessing.get_context("forkserver")  # which imports all once

    def __init__(self, archs, folder):
        self.asked, self.written = set(archs), set()
        self.pipe, other = self.context.Pipe()
        self.process = self.context.Process(target=_waiting_run, args=(other, archs, folder))
        self.process.start()
        other.close()

    def step(self):
        """Let it write one more part; return whether it did."""
        if self.written:
            self.pipe.send("go on")
        archs = self.pipe.recv()
        self.written |= {*archs}
        return bool(archs)

    def kill(self):
        self.process.kill()  # SIGKILL
        self.process.join()


@pytest.mark.skipif(os.name != "posix", reason="kills a process")
@pytest.mark.parametrize("killed", [(0, 1), (1, 0), (0,), (1,)])
def test_two_processes_at_once_killed_in_any_order(folder, killed):
    """What either has written stays, whatever becomes of the other, and both find the same."""
    Process.context.set_forkserver_preload(["epsutil.scoring", "pytest"])
    both = [Process(range(60), folder), Process(range(30, 90), folder)]
    try:
        for process in (*both, *both, *both[::-1]):
            assert process.step(), "ended before it could be killed"
        for which in killed:
            both[which].kill()
        for which in {0, 1} - {*killed}:  # the other one goes on to its end, and merges
            while both[which].step():
                pass
            assert both[which].written >= both[which].asked - both[1 - which].written
    finally:
        for process in both:
            process.kill()
    (path,) = folder.iterdir()
    held = both[0].written | both[1].written
    assert set(store.read(path).index) == held and len(held) > 12  # nothing half-written
    whole = score(folder, list(range(90)))
    assert set(store.read(path).index) == {*range(90)}
    expected = [SPACE.score(SPACE[i], BATCH.x) for i in range(90)]
    np.testing.assert_array_equal(whole["1e-07,1"], expected)
    assert len(list(path.glob("part-*"))) == 1


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
    first = spaces.get("nasbench201").sample(500, seed=3)
    assert len(set(first)) == 500 and (first == spaces.get("nasbench201").sample(500, seed=3)).all()
    with pytest.raises(ValueError, match="n_archs is 20000"):
        spaces.get("nasbench201").sample(20000)


def test_a_sample_is_taken_from_the_whole_space(folder, monkeypatch):
    monkeypatch.setattr(spaces.get("nasbench201").__class__, "__len__", lambda self: 40)
    whole = score(folder, archs=None)
    calls = count_chunks(monkeypatch)
    pd.testing.assert_frame_equal(score(folder, archs=[3, 1]), whole.loc[[3, 1]])
    assert not calls


class Mine(type(SPACE)):
    """A space that no registry knows."""

    name = "mine"


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_a_space_of_ones_own_is_scored_and_stored_under_its_name(folder, n_jobs):
    frame = scoring.score(Mine(), BATCH, archs=SOME, folder=folder, n_jobs=n_jobs)
    pd.testing.assert_frame_equal(frame, score(folder), check_flags=False)
    synflow = scoring.score_group(Mine(), "grey", "synflow", 2, folder=folder, n_jobs=n_jobs)
    assert synflow["synflow"].notna().all()
    names = sorted(path.name.split("-b")[0] for path in folder.iterdir())
    assert names == ["mine-grey-epsilon", "mine-grey-synflow", "nasbench201-grey-epsilon"]


def test_a_space_with_another_embedding_has_another_name():
    """Else its scores would be those of the paper's embedding."""
    given = spaces.get("nasbench_nlp@uniform-centred-0.1")
    assert (
        given.name == type(given)("uniform centred 0.1").name == "nasbench_nlp@uniform-centred-0.1"
    )
    assert spaces.get("nasbench_nlp").name == "nasbench_nlp" and spaces.get(given) is given


def test_a_bare_array_is_no_batch():
    with pytest.raises(TypeError, match="what epsutil.inputs.batch returns, not of type ndarray"):
        scoring.score("nasbench201", np.zeros((2, 3, 8, 8)))
