"""Measure what the project promises about time, memory and agreement, in one run.

    make speed                                   # everything, a quarter of an hour on two cores
    python tests/speed.py --only whole ratio     # some measurements
    python tests/speed.py --space nasbench101    # one search space
    python tests/speed.py --only proxies         # the competing metrics, with cv: long

Each line shows what was measured, the target and whether it is met, "-" where there is none. Ratios
are taken in one run, so that a slow or a busy machine slows both sides. Images are synthetic where
the real ones are not at hand; that changes no time.
"""

import argparse
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import psutil
import torch

from epsutil import cross_checks, inputs, proxies, scoring, sources, spaces
from epsutil.spaces import nasbench101, nasbench201
from epsutil.spaces.nasbench201 import STAGES, AveragePool


class Plan(NamedTuple):
    """How a search space is measured, and what it must reach."""

    inputs: tuple[str, ...]  # the first kind at hand is used
    n_scored: int  # architectures scored for the time of the whole space
    n_jobs: int
    whole: float  # seconds for the whole space, or
    each: float  # milliseconds for one architecture, with n_jobs processes
    n_full: int  # architectures evaluated at full width for the ratio
    full_batch: int
    ratio: float
    n_agree: int  # architectures compared with full width
    agree: tuple[str, int, int | None]  # kind, batch and image size of the inputs for both
    exponents: tuple[float, float]  # of the weights
    tolerance: float  # relative, in float32
    rounding_errors: float  # that outputs gather


PLANS = {
    "nasbench201": Plan(
        ("cifar10", "normal"), 15625, 2, 60, np.inf, 12, 256, 100, 300,
        ("normal", 32, 16), (-7, 1), 1e-4, 10,
    ),
    "nasbench101": Plan(
        ("cifar10", "normal"), 1000, 2, 7200, 15, 4, 64, 100, 60,
        ("grey", 64, 8), (-5, 1), 1e-3, 10,
    ),
    "nasbench_macro": Plan(
        ("cifar10", "normal"), 6561, 2, 300, np.inf, 12, 256, 100, 300,
        ("normal", 32, 16), (-7, 1), 1e-4, 10,
    ),
    "nasbench_nlp": Plan(
        ("ptb", "random_tokens"), 1000, 1, np.inf, 10, 6, 256, 100, 60,
        ("random_tokens", 16, None), (-7, 0), 1e-3, 1000,  # through 70 steps of three layers
    ),
}  # fmt: skip
N_COMPETED = 3  # architectures that the competing metrics are timed on
LONG = 6.0  # seconds for an architecture, beyond which one must do
MEMORY = 2.0  # GiB, of all processes together


def report(what: str, value: str, target: str = "-", met: bool | None = None) -> None:
    """Print one line of the table; what has no target gets no verdict."""
    verdict = "-" if met is None else "PASS" if met else "MISS"
    print(f"{what:58} {value:>14}   {target:>12}   {verdict}", flush=True)


@contextmanager
def peak_memory():
    """Yield a list that ends up holding the largest memory of this process and its children, GiB.

    On Linux a page that they share counts once.
    """
    peak, done, own = [0.0], threading.Event(), psutil.Process()

    def watch():
        while not done.wait(0.25):
            total = 0
            for process in (own, *own.children(recursive=True)):
                try:
                    memory = process.memory_full_info()
                    total += getattr(memory, "pss", memory.rss)
                except psutil.NoSuchProcess:
                    pass
            peak[0] = max(peak[0], total / 2**30)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield peak
    finally:
        done.set()
        watcher.join()


def at_hand(plan: Plan) -> str:
    """Return the first of a plan's inputs that needs no download."""
    return next(kind for kind in plan.inputs if sources.available(*inputs.needs(kind)))


def whole(name: str, plan: Plan) -> None:
    """Score the whole space, or a sample of a large one, under two weights."""
    space = spaces.get(name)
    batch = inputs.batch(at_hand(plan), 256)
    archs = spaces.get(name).sample(plan.n_scored, seed=0)
    with tempfile.TemporaryDirectory() as folder:
        arguments = {"n_jobs": plan.n_jobs, "rebuild": True, "folder": Path(folder)}
        scoring.score(name, batch, space.weights, archs[:200], **arguments)  # compiles, warms up
        with peak_memory() as peak:
            frame = scoring.score(name, batch, space.weights, archs, **arguments)
    seconds = frame.attrs["run"]["seconds"]
    each = 1e3 * seconds / plan.n_scored
    processes = f"{plan.n_jobs} process{'es' if plan.n_jobs > 1 else ''}"
    title = f"{name}: {plan.n_scored:,} of {len(space):,} on {batch.kind}, {processes}"
    if np.isfinite(plan.whole):
        estimate = seconds * len(space) / plan.n_scored
        estimated = "" if plan.n_scored == len(space) else " (estimate)"
        text = f"{title}; whole{estimated}"
        report(text, f"{estimate:.0f} s", f"<= {plan.whole:.0f} s", estimate <= plan.whole)
    if np.isfinite(plan.each):
        report(title, f"{each:.1f} ms each", f"<= {plan.each:.0f} ms", each <= plan.each)
    report(f"{name}: memory of all processes", f"{peak[0]:.2f} GiB", f"<= {MEMORY} GiB",
           peak[0] <= MEMORY)  # fmt: skip


def ratio(name: str, plan: Plan) -> None:
    """Compare the time of both evaluations on one core, by torch and by the collapse."""
    kind, _, image_size = plan.agree
    batch = inputs.batch(kind, plan.full_batch, 1, 32 if image_size else None)
    cross_checks.compare(name, batch, 1, 1, ["float32"], plan.exponents)
    rows = cross_checks.compare(name, batch, plan.n_full, 2, ["float32"], plan.exponents)
    full, collapsed = rows["seconds_full"].mean(), rows["seconds_collapsed"].mean()
    text = f"{name}: full width {1e3 * full:.0f} ms, collapse {1e3 * collapsed:.1f} ms, one core"
    times = full / collapsed
    report(text, f"{times:.0f} times", f">= {plan.ratio:.0f}", times >= plan.ratio)


def _sources(name: str, arch) -> list[int]:
    """Return how many maps each operation of a cell adds up."""
    if name == "nasbench201":
        steps, ends = nasbench201._plan(arch)
        return [*(len(step.sources) for step in steps), len(ends)]
    cell = nasbench101._cells(arch)[0][0]
    inner = [len(sources) for sources in cell.sources[1:-1]]
    return [*inner, max(len(cell.ends), 1) * (1 + cell.residual)]  # the last is the projection


def bandwidth(name: str, plan: Plan) -> None:
    """Compare an evaluation with a copy of the bytes that it reads and writes, on one core.

    Each operation reads the maps that it adds up, once, and writes one. The copy is of an array too
    large for the caches.
    """
    if name not in ("nasbench201", "nasbench101"):  # the spaces of cells of one size
        return
    space = spaces.get(name)
    x = inputs.batch("normal", 256).x
    n_cells = nasbench201.CELLS if name == "nasbench201" else nasbench101.CELLS
    stages = x[:, 0].nbytes * n_cells * (1 + 1 / 4 + 1 / 16)  # bytes of one map in every cell
    source = np.ones(1 << 24, np.float32)
    target = np.empty_like(source)
    moved = evaluating = copying = 0.0
    np.empty(31 << 20, np.uint8)  # as `scoring` does, so that memory is kept
    for index in spaces.get(name).sample(30, seed=0):
        arch = space[int(index)]
        counts = _sources(name, arch)
        space.outputs(arch, x, (1.0,))  # without subnormal numbers
        start = time.perf_counter()
        space.outputs(arch, x, (1.0,))
        middle = time.perf_counter()
        np.copyto(target, source)
        end = time.perf_counter()
        evaluating, copying = evaluating + middle - start, copying + end - middle
        moved += stages * (sum(counts) + len(counts))
    limit = moved / (30 * 2 * source.nbytes) * copying
    text = (
        f"{name}: a copy of its bytes {limit / 30e-3:.1f} ms, evaluation {evaluating / 30e-3:.1f}"
    )
    report(text, f"{limit / evaluating:.0%}")


def extended(name: str, plan: Plan) -> None:
    """Compare extended range with float32, in turns on one core."""
    space = spaces.get(name)
    if "extended" not in space.dtypes:
        return
    x, seconds = inputs.batch("normal", 256).x, dict.fromkeys(("float32", "extended"), 0.0)
    np.empty(31 << 20, np.uint8)
    for index in spaces.get(name).sample(30, seed=0):
        for dtype in seconds:
            space.outputs(space[int(index)], x, space.weights, dtype)
            start = time.perf_counter()
            space.outputs(space[int(index)], x, space.weights, dtype)
            seconds[dtype] += time.perf_counter() - start
    single, wide = (1e3 * each / 30 for each in seconds.values())
    text = f"{name}: extended range {wide:.1f} ms, float32 {single:.1f} ms"
    report(text, f"{wide / single:.2f} times", "<= 3", wide <= 3 * single)


def pooling(name: str, plan: Plan) -> None:
    """Compare NAS-Bench-201's average pooling with torch's, both passes, on one core."""
    if name != "nasbench201":
        return
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    x = torch.randn(64, STAGES[0], 32, 32, requires_grad=True)
    seconds = []
    for pool in (torch.nn.AvgPool2d(3, 1, 1, count_include_pad=False), AveragePool()):
        torch.autograd.grad(pool(x).sum(), x)  # warms up
        start = time.perf_counter()
        for _ in range(20):
            torch.autograd.grad(pool(x).sum(), x)
        seconds.append((time.perf_counter() - start) / 20)
    torchs, ours = (1e3 * each for each in seconds)
    text = f"{name}: average pooling, torch's {torchs:.1f} ms, ours {ours:.1f} ms"
    times = seconds[0] / seconds[1]
    report(text, f"{times:.1f} times", ">= 2", times >= 2)
    torch.set_num_threads(threads)


def agrees(name: str, plan: Plan) -> None:
    """Hold the collapse to full width on random architectures and weights, in both precisions."""
    kind, size, image_size = plan.agree
    batch = inputs.batch(kind, size, 3, image_size)
    rows = cross_checks.compare(name, batch, plan.n_agree, 3, exponents=plan.exponents)
    for row in cross_checks.summary(rows, plan.tolerance, plan.rounding_errors).itertuples():
        title = f"{name}: {row.n} architectures in {row.dtype}"
        beyond = row.unscored_differ - row.at_limit
        report(f"{title}, scored by one only (not at its limit)",
               f"{row.unscored_differ} ({beyond})", "(0)", not beyond)  # fmt: skip
        report(f"{title}, beyond tolerance (rounding decides {row.ill})", f"{row.outside}", "0",
               not row.outside)  # fmt: skip


def competitors(name: str, plan: Plan, everything: bool = False) -> None:
    """Time the metrics that epsilon competes with, on one core; they have no target.

    As stored scores are computed, on a few random architectures, on one where a group takes long.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    space = spaces.get(name)
    kind = at_hand(plan)
    archs = [int(index) for index in scoring.order(name)[:N_COMPETED]]
    x = inputs.batch(kind, 256).x
    space.score(space[archs[0]], x, space.weights)  # compiles, warms up
    start = time.perf_counter()
    for index in archs:
        space.score(space[index], x, space.weights)
    epsilon = (time.perf_counter() - start) / len(archs)
    report(f"{name}: epsilon, batch 256, {len(archs)} networks", f"{epsilon:.4f} s")

    def tell(what: str, seconds: list[float], size: int) -> None:
        networks = f"{len(seconds)} network{'s' if len(seconds) > 1 else ''}"
        each = np.mean(seconds)
        times = each / epsilon
        value = f"{each:.3g} s ({times:.{0 if times > 9 else 1}f} x)"  # times epsilon's
        report(f"{name}: {what}, batch {size}, {networks}", value)

    for group_name in scoring.groups(name):
        group = scoring.GROUPS[group_name]
        if group_name == "cv" and not everything or group.apart:  # a hundred initialisations
            continue
        batch = scoring.group_batch(name, kind, group_name, proxies.SEED)
        run = scoring.group_run(name, kind, group_name, batch, proxies.SEED)
        labels = batch.labels
        if labels is None:  # no data at hand, or none needed
            labels = np.random.default_rng(0).integers(inputs.classes(kind), size=batch.size)
        seconds: list[float] = []
        for index in archs:
            (row,) = scoring._score_chunk(space, run, batch.x, labels, [("", index)]).values()
            seconds.append(row[-1])
            if seconds[0] > LONG:
                break
        n_metrics = len(group.names)
        tell(group_name if n_metrics == 1 else f"{group_name} ({n_metrics} metrics)", seconds,
             batch.size)  # fmt: skip
        if n_metrics > 1 and seconds[0] < LONG:
            network = space.network(space[archs[0]], run.classes)
            for metric in group.names:
                start = time.perf_counter()
                proxies.compute(network, (batch.x, labels), [metric])
                tell(f"{metric} alone", [time.perf_counter() - start], batch.size)
    torch.set_num_threads(threads)  # the measurements that follow


MEASUREMENTS = {
    "whole": whole,
    "ratio": ratio,
    "bandwidth": bandwidth,
    "extended": extended,
    "pooling": pooling,
    "agreement": agrees,
    "proxies": competitors,
}


def main() -> None:
    """Measure what the options name."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=MEASUREMENTS)
    parser.add_argument("--space", nargs="+", choices=PLANS, default=list(PLANS))
    options = parser.parse_args()
    print(
        f"{psutil.cpu_count()} cores, load {psutil.getloadavg()[0]:.1f}, torch {torch.__version__}"
    )
    start = time.perf_counter()
    for name in options.space:
        for measurement in options.only or MEASUREMENTS:
            asked = {"everything": True} if measurement == "proxies" and options.only else {}
            MEASUREMENTS[measurement](name, PLANS[name], **asked)
    print(f"in {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
