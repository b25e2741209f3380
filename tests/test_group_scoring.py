"""The growing stores of the competing metrics."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from epsutil import initialise, inputs, metric, proxies, scoring, spaces, store

SPACE = spaces.get("nasbench201")


@pytest.fixture(autouse=True)
def _no_recorded_scores(tmp_path, monkeypatch):
    monkeypatch.setattr("epsutil.paths.RECORDED_SCORES", tmp_path / "none")


def score(folder, n_archs=6, group="linear_regions", **arguments):
    return scoring.score_group(
        "nasbench201", "normal", group, n_archs, folder=folder, n_jobs=1, **arguments
    )


def test_scores_are_those_of_compute(tmp_path):
    frame = score(tmp_path, 3, "synflow")
    assert sorted(frame.index) == sorted(scoring.order("nasbench201")[:3])
    batch = inputs.batch("normal", 1, 42, 32)
    for index, row in frame.iterrows():
        network = SPACE.build(SPACE[index], 10)
        value = proxies.compute(network, (batch.x, None), ["synflow"])["synflow"]
        assert row["synflow"] == pytest.approx(value, rel=1e-9) and row["seconds"] > 0


def test_a_store_grows_and_nothing_is_computed_twice(tmp_path, monkeypatch):
    few = score(tmp_path, 5)
    counted = []
    chunk = scoring._score_chunk
    monkeypatch.setattr(
        scoring,
        "_score_chunk",
        lambda *given: counted.append(len(given[-1])) or chunk(*given),
    )
    many = score(tmp_path, 9)
    structures = [SPACE.structure(SPACE[int(i)]) for i in scoring.order("nasbench201")]
    assert sum(counted) == len(set(structures[:9]) - set(structures[:5])) > 0
    pd.testing.assert_frame_equal(many.loc[few.index], few)
    counted.clear()
    pd.testing.assert_frame_equal(score(tmp_path, 5), few)
    pd.testing.assert_frame_equal(score(tmp_path, 0), many)
    assert not counted


def test_networks_are_scored_in_the_order_in_which_a_store_grows(tmp_path, monkeypatch):
    """Else what an interrupted run has done would not be the store of fewer architectures."""
    chunk, asked = scoring._score_chunk, []
    monkeypatch.setattr(
        scoring,
        "_score_chunk",
        lambda *given: asked.extend(given[-1]) or chunk(*given),
    )
    order = [int(i) for i in scoring.order("nasbench201")[:40]]
    structures = [SPACE.structure(SPACE[i]) for i in order]
    assert len(set(structures)) < len(structures)
    score(tmp_path, len(order))
    first = {s: i for s, i in zip(reversed(structures), reversed(order), strict=True)}
    assert asked == [(s, first[s]) for s in dict.fromkeys(structures)]


def test_nothing_stored_is_none(tmp_path):
    assert score(tmp_path, 0) is None


def test_an_interrupted_run_loses_at_most_a_chunk(tmp_path, monkeypatch):
    group = scoring.GROUPS["linear_regions"]._replace(chunk=2)
    monkeypatch.setitem(scoring.GROUPS, "linear_regions", group)
    chunk, done = scoring._score_chunk, []

    def interrupted(*given):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(len(given[-1]))
        return chunk(*given)

    monkeypatch.setattr(scoring, "_score_chunk", interrupted)
    with pytest.raises(KeyboardInterrupt):
        score(tmp_path, 8)
    (path,) = tmp_path.iterdir()
    kept = {SPACE.structure(SPACE[index]) for index in store.read(path).index}
    assert 2 <= len(kept) <= 4
    again = []
    monkeypatch.setattr(
        scoring,
        "_score_chunk",
        lambda *given: again.extend(s for s, _ in given[-1]) or chunk(*given),
    )
    score(tmp_path, 8)
    assert again and not set(again) & kept and len(list(path.iterdir())) == 1


def test_what_is_stored_is_the_beginning_of_the_order(tmp_path, monkeypatch):
    """An interrupted run may have left others, but these are no random sample."""
    order = scoring.order("nasbench201")
    score(tmp_path, 3)
    (path,) = tmp_path.iterdir()
    frame = store.read(path)
    later = frame.iloc[:2].set_axis(pd.Index(order[[4, 6]], name="index"))
    later.attrs = frame.attrs
    store.write(path, later)
    assert set(score(tmp_path, 0).index) == {*order[:3]}
    monkeypatch.setattr(scoring, "order", lambda space: order[::-1])
    assert score(tmp_path, 0) is None


def test_a_smaller_rebuild_leaves_the_larger_store(tmp_path, monkeypatch):
    many = score(tmp_path, 12)
    again = score(tmp_path, 3, rebuild=True)
    found = score(tmp_path, 0)
    assert len(found) == len(many) == 12
    pd.testing.assert_frame_equal(found.loc[again.index], again)  # with their seconds
    others = many.index.difference(again.index)
    pd.testing.assert_frame_equal(found.loc[others], many.loc[others])


def test_equal_networks_share_a_score(tmp_path):
    order = scoring.order("nasbench201")
    structures = pd.Series([SPACE.structure(SPACE[int(i)]) for i in order[:100]], index=order[:100])
    frame = score(tmp_path, 100)
    by_structure = frame["linear_regions"].groupby(structures.loc[frame.index].to_numpy())
    assert (by_structure.nunique(dropna=False) == 1).all()
    assert frame.attrs["run"]["networks"] == structures.nunique() < 100


def test_another_version_of_a_metric_is_a_miss(tmp_path, monkeypatch):
    score(tmp_path, 2)
    raised = proxies.get("linear_regions")._replace(version=2)
    monkeypatch.setitem(proxies._PROXIES, "linear_regions", raised)
    assert score(tmp_path, 0) is None
    assert len(score(tmp_path, 2)) == 2
    assert sorted(p.name.rpartition("-v")[2] for p in tmp_path.iterdir()) == ["1.1", "1.2"]


@pytest.mark.parametrize(("free", "processes"), [(40, 2), (23, 1), (3, 1)])
def test_no_more_processes_than_memory_holds(monkeypatch, caplog, free, processes):
    """Second derivatives of NAS-Bench-101's networks take 12 GiB."""
    memory = type("Memory", (), {"available": free * 2**30})
    monkeypatch.setattr(scoring.psutil, "virtual_memory", lambda: memory)
    run = _run("nasbench101", "gradients")
    assert scoring._fitting(spaces.get(run.space), run, 2) == processes
    assert ("1 processes, not 2: each takes 12 GiB" in caplog.text) == (processes == 1)
    small = _run("nasbench201", "gradients")
    assert scoring._fitting(SPACE, small, 2) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nasbench201", "normal", "synflw", 3), "nasbench201 has no metrics 'synflw'; it has"),
        (("nasbench101", "normal", "ntk", 3), "nasbench101 has no metrics 'ntk'"),
        (("nasbench_nlp", "ptb", "naswot", 3), "it has synflow, text_gradients"),
        (("nasbench201", "ptb", "synflow", 3), "nasbench201 does not read ptb, but cifar10"),
        (("nasbench201", "normal", "synflow", 15626), "n_archs is 15626; nasbench201 has 15,625"),
    ],
)
def test_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        scoring.score_group(*arguments)


def _run(space_name="nasbench201", group="grad_sign", **batch):
    x = inputs.batch("normal", 4, 42)
    labelled = replace(x, labels=np.arange(4))
    return scoring.group_run(space_name, "cifar10", group, replace(labelled, **batch), 42)


def test_what_decides_a_score_is_part_of_a_stores_name(monkeypatch):
    names = {_run(group=group).name for group in scoring.groups("nasbench201")}
    assert len(names) == len(scoring.groups("nasbench201"))
    before = _run().name
    assert _run(labels=np.arange(4)[::-1].copy()).name != before
    assert _run(x=inputs.batch("normal", 4, 43).x).name != before
    naswot = _run(group="naswot").name  # reads no labels
    assert _run(group="naswot", labels=None).name == naswot
    monkeypatch.setattr(proxies, "VERSION", 2)
    assert _run().name != before


def test_patches_are_squares_of_the_images():
    whole, patches = inputs.batch("normal", 50, 3), inputs.patches("normal", 50, 3)
    assert patches.x.shape == (50, 1, 3, 3) and patches.labels is None
    for image, (patch,) in zip(whole.x, patches.x, strict=True):
        windows = np.lib.stride_tricks.sliding_window_view(image, (3, 3), axis=(1, 2))
        assert (windows == patch).all(axis=(-1, -2)).any()


# What networks are the same ------------------------------------------------------------------


def test_networks_of_nasbench201():
    structures = [SPACE.structure(arch) for arch in SPACE]
    keys = [SPACE.key(arch) for arch in SPACE]
    assert len(set(structures)) == 5260
    pairs = set(zip(structures, keys, strict=True))
    assert len(pairs) == 5260  # what is the same network is the same function
    assert len(set(keys)) == 4930


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        (  # one convolution used twice, or two
            "|nor_conv_1x1~0|+|none~0|skip_connect~1|+|none~0|skip_connect~1|skip_connect~2|",
            "|nor_conv_1x1~0|+|nor_conv_1x1~0|none~1|+|none~0|skip_connect~1|skip_connect~2|",
            False,
        ),
        (  # nodes 1 and 2 change places
            "|nor_conv_1x1~0|+|nor_conv_3x3~0|none~1|+|none~0|nor_conv_3x3~1|skip_connect~2|",
            "|nor_conv_3x3~0|+|nor_conv_1x1~0|none~1|+|none~0|skip_connect~1|nor_conv_3x3~2|",
            True,
        ),
        (  # a convolution that reaches no output
            "|nor_conv_1x1~0|+|none~0|none~1|+|nor_conv_3x3~0|none~1|none~2|",
            "|none~0|+|none~0|none~1|+|nor_conv_3x3~0|none~1|nor_conv_1x1~2|",
            True,
        ),
        (
            "|nor_conv_1x1~0|+|none~0|none~1|+|none~0|nor_conv_3x3~1|none~2|",
            "|nor_conv_3x3~0|+|none~0|none~1|+|none~0|nor_conv_1x1~1|none~2|",
            False,
        ),
    ],
)
def test_structure(a, b, same):
    assert (SPACE.structure(a) == SPACE.structure(b)) == same


def test_thin_networks_of_te_nas():
    arch, x = SPACE[1462], torch.randn(4, 3, 32, 32)
    assert SPACE.network(arch, 10, "thin")(x).shape == (4, 10)
    assert sum(p.numel() for p in SPACE.network(arch, 1, "thin").parameters()) < 20_000
    assert SPACE.network(arch, 1, "single_cell")(x[:, :1, :3, :3]).shape == (4, 1, 3, 3)


def test_biases_change_fisher_and_no_output():
    arch, x = SPACE[1462], torch.randn(8, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    plain, biased = initialise.random_(SPACE.build(arch, 10), 0), SPACE.network(arch, 10, "biased")
    added = biased.load_state_dict(plain.state_dict(), strict=False).missing_keys
    assert len(added) == 15 * 6 and all(name.endswith(".1.bias") for name in added)
    assert all(biased.get_parameter(name).abs().sum() > 0 for name in added)
    for name in added:  # larger than drawn, so that chance has no part in what follows
        nn.init.ones_(biased.get_parameter(name))
    torch.testing.assert_close(biased(x), plain(x), rtol=1e-3, atol=1e-3)
    batch = (x, torch.arange(8))
    metrics = ["grad_norm", "fisher"]
    norm, fisher = proxies.compute(plain, batch, metrics, seed=None).values()
    norm_b, fisher_b = proxies.compute(biased, batch, metrics, seed=None).values()
    assert norm_b == pytest.approx(norm, rel=1e-2)
    assert abs(fisher_b / fisher - 1) > 0.1


def test_the_mean_over_channels_in_place_of_the_linear_layer():
    arch, x = SPACE[9930], torch.rand(8, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    plain, averaged = SPACE.build(arch, 1).double(), SPACE.network(arch, 1, "averaged").double()
    constants = metric.epsilon(plain, x.double(), (1e-7, 1.0))
    assert metric.epsilon(averaged, x.double(), (1e-7, 1.0)) == pytest.approx(constants) != 0
    initialise.random_(plain, 0, "normal"), initialise.random_(averaged, 0, "normal")
    torch.testing.assert_close(averaged.state_dict(), plain.state_dict())
    nn.init.constant_(plain.get_parameter("classifier.weight"), 1 / 64)
    torch.testing.assert_close(averaged(x.double()), plain(x.double()))


@pytest.mark.parametrize("space", spaces.names())
def test_a_space_has_a_metric_in_one_group(space):
    groups = [scoring.GROUPS[name] for name in scoring.groups(space)]
    names = [name for group in groups if not group.apart for name in group.names]
    assert len(names) == len(set(names))
    assert all(set(group.names) <= set(names) for group in groups)


def test_language_model_is_tied():
    space = spaces.get("nasbench_nlp")
    tokens = torch.randint(10_000, (3, 2), generator=torch.Generator().manual_seed(0))
    network = space.network(space.generate(np.random.default_rng(0)), 10_000)
    hidden = network.network(tokens)
    logits = network(tokens)
    assert logits.shape == (3, 2, 10_000) and hidden.shape == (3, 2, 400)
    expected = hidden @ network.network.embedding.weight.T
    torch.testing.assert_close(logits, expected)
    assert network.network.embedding.weight.abs().max() <= 0.1


@pytest.mark.parametrize(
    "setting", [{"channels_last": True}, {"one_output": True}, {"network": "biased"}]
)
def test_a_groups_settings_are_part_of_a_store(monkeypatch, setting):
    before = _run().name
    group = scoring.GROUPS["grad_sign"]
    monkeypatch.setitem(scoring.GROUPS, "grad_sign", group._replace(**setting))
    assert _run().name != before
