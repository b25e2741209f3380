"""What the data page says about files that a user makes."""

import csv
import gzip
import hashlib
import json
import math
import re
import shutil
import subprocess
import sys
import zipfile

import pytest

from epsutil import benchmarks, paths, sources

PAGE = (paths.BOOK / "data.md").read_text("utf-8")
RUNS = "nas-bench-nlp/ptb_single_run.csv.gz"
LOGS = "nas-bench-nlp/wikitext-2-logs.zip"


def test_the_size_of_all_downloads_is_that_of_the_sources():
    size = sum(s.size for s in sources.SOURCES.values() if s.url)
    for text in (PAGE, (paths.ROOT / "README.md").read_text("utf-8")):
        assert f"{size / 1e6:.0f} MB" in text


@pytest.mark.needs(RUNS)
@pytest.mark.skipif(shutil.which("gzip") is None, reason="needs GNU gzip")
def test_the_runs_of_nas_bench_nlp_are_packed_as_the_page_says(tmp_path):
    packed = sources.path(RUNS).read_bytes()
    content = gzip.decompress(packed)
    assert f"{len(content):,} bytes" in PAGE and hashlib.sha256(content).hexdigest() in PAGE
    (tmp_path / "nas-bench-nlp").mkdir()
    (tmp_path / "nbnlp_ptb_compact.csv").write_bytes(content)
    (commands,) = re.findall(r"```console\n((?:\$ (?:touch|gzip).*\n)+)```", PAGE)
    for command in commands.replace("$ ", "").splitlines():
        subprocess.run(command, shell=True, check=True, cwd=tmp_path)
    assert (tmp_path / RUNS).read_bytes() == packed


@pytest.mark.needs(LOGS, RUNS)
def test_the_script_makes_a_row_of_each_log(tmp_path):
    """On the logs of WikiText-2, which are at hand, in place of those of Penn Treebank."""
    (script,) = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    shutil.copy(sources.path(LOGS), tmp_path / "logs.zip")
    subprocess.run([sys.executable, "-c", script], check=True, cwd=tmp_path)
    with gzip.open(sources.path(RUNS), "rt", encoding="utf-8", newline="") as file:
        header = file.readline()
    made = tmp_path / "nbnlp_ptb_compact.csv"
    assert made.read_bytes().startswith(header.encode())
    with made.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    with zipfile.ZipFile(tmp_path / "logs.zip") as archive:
        logs = [json.loads(archive.read(name)) for name in archive.namelist()]
    assert len(rows) == len(logs) == 345
    logs.sort(key=lambda log: log["recepie_id"])
    for row, log in zip(rows, logs, strict=True):
        assert row["experiment_id"] == str(log["experiment_id"])
        expected = benchmarks._outcome(log) | {"num_params": log["num_params"]}
        assert row["recepie"] == log["recepie"] and row["status"] == log["status"]
        assert float(row["wall_time_s"]) == pytest.approx(math.fsum(log["wall_times"]))
        for name in (*benchmarks._LOSSES, "n_epochs", "num_params"):
            value = float(row[name] or "nan")
            assert value == expected[name] or math.isnan(value) and math.isnan(expected[name])
