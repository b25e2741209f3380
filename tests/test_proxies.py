"""Each metric against the plainest implementation of its formula."""

import copy
import inspect
import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from epsutil import initialise, inputs, metric, paths, proxies, scoring, spaces
from epsutil.spaces import nasbench_nlp

BATCH = 12


class Branch(nn.Module):
    """A layer with ReLU, and one that does not reach the output."""

    def __init__(self):
        super().__init__()
        self.conv, self.dead = (nn.Conv2d(4, 4, 3, padding=1, bias=False) for _ in range(2))
        self.relu, self.dead_relu = nn.ReLU(), nn.ReLU()

    def forward(self, x):
        self.dead(self.dead_relu(x - 1))
        return x + self.conv(self.relu(x))


def network() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1, bias=False),
        nn.BatchNorm2d(4),
        Branch(),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.AvgPool2d(4),
        nn.Flatten(),
        nn.Dropout(),
        nn.Linear(16, 5),
    )


def batch(seed: int = 0, size: int = BATCH) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(size, 3, 8, 8, generator=generator)
    return x, torch.randint(5, (size,), generator=generator)


def drawn(seed: int = 42) -> nn.Module:
    """Return the network as `compute` draws it, in the mode that it is scored in."""
    net = initialise.random_(network(), seed).eval()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.train()
    return net


def layers(net: nn.Module) -> list[nn.Module]:
    return [m for m in net.modules() if isinstance(m, nn.Conv2d | nn.Linear)]


def loss_and_backward(net: nn.Module, x, labels) -> None:
    nn.functional.cross_entropy(net(x), labels).backward()


def gradient(layer: nn.Module) -> torch.Tensor:
    return torch.zeros_like(layer.weight) if layer.weight.grad is None else layer.weight.grad


def one(name: str, net: nn.Module | None = None, data=None, **arguments) -> float:
    return proxies.compute(net or network(), data or batch(), [name], **arguments)[name]


# The formulas --------------------------------------------------------------------------------


def test_grad_norm_and_snip():
    net = drawn()
    loss_and_backward(net, *batch())
    values = proxies.compute(network(), batch(), ["grad_norm", "snip"])
    norms = sum(gradient(layer).norm().item() for layer in layers(net))
    sensitivity = sum((layer.weight * gradient(layer)).abs().sum().item() for layer in layers(net))
    assert values["grad_norm"] == pytest.approx(norms, rel=1e-5)
    assert values["snip"] == pytest.approx(sensitivity, rel=1e-5)


def test_grasp_is_minus_weights_times_hessian_times_gradient():
    """The product with the Hessian by finite differences of gradients, in float64."""
    x, labels = batch()
    x = x.double()
    net = drawn().double()
    loss_and_backward(net, x, labels)
    g = [gradient(layer).clone() for layer in layers(net)]
    step = 1e-6
    moved = []
    for sign in (1, -1):
        other = copy.deepcopy(net)
        other.zero_grad()
        with torch.no_grad():
            for layer, direction in zip(layers(other), g, strict=True):
                layer.weight += sign * step * direction
        loss_and_backward(other, x, labels)
        moved.append([gradient(layer) for layer in layers(other)])
    expected = -sum(
        (layer.weight * (up - down) / (2 * step)).sum().item()
        for layer, up, down in zip(layers(net), *moved, strict=True)
    )
    value = one("grasp", net, (x, labels), seed=None)
    assert value == pytest.approx(expected, rel=1e-5)


def test_fisher():
    net = drawn()
    outputs: list[tuple[int, torch.Tensor]] = []

    def keep(module, arguments, output):
        output.retain_grad()
        outputs.append((module.weight[0].numel(), output))

    for layer in layers(net):
        layer.register_forward_hook(keep)
    loss_and_backward(net, *batch())
    expected = weighted = 0.0
    for n_weights, a in outputs:
        if a.grad is not None:
            per_channel = a * a.grad
            while per_channel.ndim > 2:
                per_channel = per_channel.sum(-1)
            information = (per_channel**2).mean(0).sum().item() / 2
            expected += information
            weighted += n_weights * information
    assert len(outputs) == 4
    assert one("fisher") == pytest.approx(expected, rel=1e-5)
    assert one("fisher_weighted") == pytest.approx(weighted, rel=1e-5)


def test_jacob_cov():
    x, labels = batch()
    x.requires_grad_()
    drawn()(x).sum().backward()
    values = np.linalg.eigvalsh(np.corrcoef(x.grad.reshape(BATCH, -1).double().numpy()))
    expected = -sum(math.log(v + 1e-5) + 1 / (v + 1e-5) for v in values)
    assert one("jacob_cov") == pytest.approx(expected, rel=1e-3)


class ReLUConv(nn.Module):
    """Its own class's name has ReLU in it, too, as that of NAS-Bench-201's ReLUConvBN."""

    def __init__(self):
        super().__init__()
        self.act, self.conv = nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x):
        return self.conv(self.act(x))


class Activations(nn.Module):
    """Some of every kind; the last but two does not reach the output."""

    def __init__(self):
        super().__init__()
        kinds = (nn.ReLU6(), nn.LeakyReLU(), nn.PReLU(), nn.GELU(), nn.CELU(), ReLUConv())
        self.kinds, self.dead = nn.ModuleList(kinds), nn.ReLU6()
        self.conv, self.linear = nn.Conv2d(3, 4, 3, padding=1), nn.Linear(4 * 64, 5)

    def forward(self, x):
        x = self.conv(x)
        self.dead(x + 1)
        for kind in self.kinds:
            x = kind(x - 0.1) + nn.functional.relu(x)
        return self.linear(x.flatten(1))


def test_naswot_counts_what_has_relu_in_the_name_of_its_class():
    """As the authors' code: both kernels added up where a module is, after a pass backward."""
    net, (x, _) = initialise.random_(Activations(), 42), batch()
    kernel, seen = np.zeros((BATCH, BATCH)), set()

    def look(module, given, _):
        on = (given[0].reshape(BATCH, -1) > 0).double().numpy()
        if module in seen:
            kernel[:] += on @ on.T + (1 - on) @ (1 - on).T

    def reached(module, *_):
        seen.add(module)

    for module in net.modules():
        if "ReLU" in str(type(module)):
            module.register_forward_hook(look)
            module.register_full_backward_hook(reached)
    net(x.clone().requires_grad_()).sum().backward()
    with torch.no_grad():
        net(x)
    counted = sorted(type(module).__name__ for module in seen)
    assert counted == ["LeakyReLU", "PReLU", "ReLU", "ReLU6", "ReLUConv"]
    assert one("naswot", Activations()) == pytest.approx(np.linalg.slogdet(kernel)[1], rel=1e-9)


def test_naswot():
    """Over the two ReLUs that reach the output, not the third."""
    net, codes = drawn(), []
    for relu in (net[2].relu, net[4]):
        relu.register_forward_hook(lambda *call: codes.append((call[2] > 0).reshape(BATCH, -1)))
    net(batch()[0])
    code = torch.cat(codes, 1).numpy().astype(int)
    kernel = np.array([[np.sum(a == b) for b in code] for a in code], float)
    assert one("naswot") == pytest.approx(np.linalg.slogdet(kernel)[1], rel=1e-9)


def test_grad_sign():
    net, (x, labels) = drawn(), batch()
    signs = []
    for i in range(BATCH):
        net.zero_grad()
        loss_and_backward(net, x[[i]], labels[[i]])
        signs.append(torch.cat([gradient(layer).sign().flatten() for layer in layers(net)]))
    expected = torch.stack(signs).sum(0).abs().sum().item()
    assert one("grad_sign") == pytest.approx(expected, abs=4)  # a gradient may round to 0


def test_ntk():
    net, (x, labels) = drawn().double(), batch()
    rows = []
    for output in net(x.double()):
        scales = [m.weight for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
        parts = torch.autograd.grad(
            output.sum(),
            [*scales, *(la.weight for la in layers(net))],
            retain_graph=True,
            allow_unused=True,
        )
        rows.append(torch.cat([p.flatten() for p in parts if p is not None]))
    kernel = np.array([[float(a @ b) for b in rows] for a in rows])
    values = np.linalg.eigvalsh(kernel)
    value = one("ntk", net, (x.double(), labels), seed=None)
    assert value == pytest.approx(values[-1] / values[0], rel=1e-6)


def test_linear_regions():
    """Lines through the plane: as many regions as patterns of which side a point is on."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(2, 4), nn.ReLU())
    points = torch.randn(3000, 2, 1, 1, generator=torch.Generator().manual_seed(1))
    initialise.random_(net, 42)
    patterns = {tuple(row) for row in (net(points) > 0).tolist()}
    assert 8 < one("linear_regions", net, (points, None)) == len(patterns) <= 11  # 1 + 4 + 6


def test_cv():
    x, labels = batch(size=200)
    accuracies = []
    for seed in range(42, 142):
        accuracies.append((drawn(seed)(x).argmax(1) == labels).float().mean().item())
    expected = np.std(accuracies) / np.mean(accuracies)
    assert one("cv", data=(x, labels)) == pytest.approx(expected, rel=1e-5)


def plain_synflow(net: nn.Module, x: torch.Tensor) -> list[float]:
    for parameter in net.parameters():
        parameter.data.abs_()
    net(torch.ones_like(x[:1])).sum().backward()
    return [(la.weight * la.weight.grad).sum().item() for la in layers(net)]


def test_synflow_is_conserved_and_equals_two_lines():
    """Every layer of a chain carries the same flow (Tanaka et al., Theorem 1)."""
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3, bias=False), nn.ReLU(), nn.Conv2d(4, 5, 3, bias=False), nn.ReLU(),
        nn.AvgPool2d(2), nn.Flatten(), nn.Linear(20, 3, bias=False),
    )  # fmt: skip
    x = batch()[0]
    flows = plain_synflow(initialise.random_(copy.deepcopy(net), 42).double(), x.double())
    assert flows == pytest.approx([flows[0]] * 3, rel=1e-9)
    assert one("synflow", net) == pytest.approx(sum(flows), rel=1e-9)


def test_synflow_leaves_batch_norm_out():
    plain = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))
    normalised = nn.Sequential(plain[0], nn.BatchNorm2d(4), *plain[1:])
    initialise.random_(plain, 1)
    assert one("synflow", normalised, seed=None) == one("synflow", plain, seed=None)


def test_size():
    net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Flatten(), nn.Linear(256, 5))
    values = proxies.compute(net, batch(), ["params", "flops"])
    assert values == {"params": 3 * 4 * 9 + 4 + 256 * 5 + 5, "flops": 64 * 27 * 4 + 256 * 5}


def test_sizes_of_an_architecture():
    space = spaces.get("nasbench201")
    arch = space[1462]
    x = torch.randn(2, 3, 32, 32)
    values = proxies.compute(space.build(arch, 10), (x, None), ["params", "flops"])
    assert values == {"params": space.parameters(arch), "flops": space.flops(arch)}


def test_epsilon():
    x = torch.rand(8, 3, 8, 8)
    expected = metric.epsilon(network(), x, (1e-2, 1.0))
    assert one("epsilon", data=(x, None), weights=(1e-2, 1.0)) == expected


@pytest.mark.parametrize("scheme", initialise.SCHEMES)
def test_epsilon_of_random_draws(scheme):
    space = spaces.get("nasbench201")
    net, (x, _) = space.network(space[1462], 1, "thin"), batch()
    rows = []
    for seed in (42, 43):
        net.train()
        initialise.random_(net, seed, scheme)
        rows.append(net(x).detach().flatten().numpy())
    value = one(
        f"epsilon_{scheme.replace(' ', '_')}", space.network(space[1462], 1, "thin"), (x, None)
    )
    assert value == pytest.approx(metric.from_outputs(rows), rel=1e-4)


def test_zico_of_two_gradients_by_hand():
    """For two values a and b: mean |.| / deviation = (|a| + |b|) / |a - b|."""
    x, labels = batch()
    halves = []
    for part in (slice(0, BATCH // 2), slice(BATCH // 2, None)):
        net = drawn()
        loss_and_backward(net, x[part], labels[part])
        halves.append([gradient(layer).flatten().tolist() for layer in layers(net)])
    expected = {"zico": 0.0, "zico_released": 0.0, "zico_signed": 0.0}
    for a, b in zip(*halves, strict=True):
        both = list(zip(a, b, strict=True))
        by = {"zico": [(abs(v), abs(w)) for v, w in both]}
        by["zico_released"] = [(v, v + w) for v, w in both]
        by["zico_signed"] = both
        for name, two in by.items():
            ratios = [(abs(v) + abs(w)) / abs(v - w) for v, w in two if v != w]
            expected[name] += math.log(sum(ratios)) if ratios else 0
    values = proxies.compute(network(), batch(), list(expected))
    assert values == pytest.approx(expected, rel=1e-3)
    assert min(abs(np.subtract.outer(*[list(expected.values())] * 2))[[0, 0, 1], [1, 2, 2]]) > 0.1


def test_zico_needs_two_inputs():
    with pytest.raises(ValueError, match="two halves of a batch, which has only one input"):
        one("zico", nn.Linear(5, 5), (torch.rand(1, 5), torch.tensor([0])))


def test_meco():
    """Every module counts whose output has pixels, of the first image alone."""
    net, (x, _) = drawn(), batch()
    maps = []
    for module in net.modules():
        module.register_forward_hook(lambda *call: maps.append(call[2][0]))
    net(x[:1])
    expected = 0.0
    for channels in (m.detach().double() for m in maps if m.ndim == 3 and m[0].numel() > 1):
        flat = channels.flatten(1)
        correlations = np.eye(len(flat))
        for i, j in ((i, j) for i in range(len(flat)) for j in range(len(flat))):
            constant = flat[i].std() == 0 or flat[j].std() == 0
            r = 0 if constant else np.corrcoef(flat[i], flat[j])[0, 1]
            correlations[i, j] = r
        expected += np.linalg.eigvals(correlations).real.min()
    assert one("meco") == pytest.approx(expected, rel=1e-4, abs=1e-6)
    assert one("meco", data=(x[:1], None)) == one("meco")


def test_a_copied_channel_has_no_meco():
    class Twice(nn.Module):
        def forward(self, x):
            return torch.cat([x, x], 1)

    net = nn.Sequential(Twice(), nn.Flatten(), nn.Linear(2 * 3 * 64, 5))
    assert one("meco", net) == pytest.approx(0, abs=1e-9)


def test_swap(monkeypatch):
    monkeypatch.setattr(proxies, "SWAP_DRAWS", 3)
    counts = []
    for seed in (42, 43, 44):
        net, patterns = initialise.random_(drawn(), seed, "normal"), set()
        for relu in (module for module in net.modules() if isinstance(module, nn.ReLU)):
            relu.register_forward_pre_hook(
                lambda _, given, seen=patterns: seen.update(
                    tuple(neuron) for neuron in (given[0] > 0).reshape(BATCH, -1).T.tolist()
                )
            )
        net(batch()[0])
        counts.append(len(patterns))
    assert one("swap") == pytest.approx(np.mean(counts)) and len(set(counts)) > 1


def test_swap_counts_patterns_over_many_inputs():
    active = torch.rand(40, 200, generator=torch.Generator().manual_seed(0)) > 0.5
    active = torch.cat([active, active[:, :50]], 1)
    assert proxies._patterns(active) == len({tuple(column) for column in active.T.tolist()}) == 200


AZ = ("expressivity", "progressivity", "trainability")


def test_az_nas():
    """By the definitions: entropies by sums over pixels, transfer by the singular values."""
    space, x = spaces.get("nasbench201"), torch.randn(6, 3, 16, 16)
    arch = "|nor_conv_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|avg_pool_3x3~0|none~1|none~2|"
    net = initialise.random_(space.build(arch, 10), 42, "kaiming normal")
    maps = [net.features[:2](x)]
    for block in net.features[2:-2]:
        maps.append(block(maps[-1]))
    entropies = []
    for m in maps:
        pixels = m.detach().double().permute(0, 2, 3, 1).reshape(-1, m.shape[1]).numpy()
        values = np.linalg.eigvalsh(np.cov(pixels.T, bias=True))
        entropies.append(-sum(p * math.log(p + 1e-8) for p in values / values.sum()))
    values = proxies.compute(space.build(arch, 10), (x, None), AZ)
    assert len(maps) == 18
    assert values["expressivity"] == pytest.approx(sum(entropies), rel=1e-4)
    assert values["progressivity"] == pytest.approx(min(np.diff(entropies)), rel=1e-3)

    signs, scores = torch.Generator().manual_seed(42), []
    for before, after in reversed(list(zip(maps, maps[1:], strict=False))):
        sign = torch.randint(0, 2, after.shape, generator=signs) * 2.0 - 1
        (g,) = torch.autograd.grad(after, before, sign, retain_graph=True)
        if g.shape != sign.shape:  # each of four neighbouring pixels as a channel
            g = torch.stack([g[..., i::2, j::2] for i in (0, 1) for j in (0, 1)], 2).flatten(1, 2)
        product = torch.einsum("bihw,bohw->io", g, sign) / sign[:, 0].numel()
        sigma = torch.linalg.svdvals(product).max().item()
        scores.append(2 - sigma - 1 / (sigma + 1e-6))
    assert values["trainability"] == pytest.approx(np.mean(scores), rel=1e-4)


def test_az_nas_of_dead_and_of_identical_cells():
    """As the authors' code: no information, no gradient; a cell that does nothing comes last."""
    space, x = spaces.get("nasbench201"), torch.randn(8, 3, 16, 16)
    dead = "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|"
    values = proxies.compute(space.build(dead, 10), (x, None), AZ)
    assert math.isnan(values["expressivity"]) and math.isnan(values["progressivity"])
    assert values["trainability"] < -1e5
    skip = "|none~0|+|none~0|none~1|+|skip_connect~0|none~1|none~2|"
    values = proxies.compute(space.build(skip, 10), (x, None), AZ)
    assert math.isnan(values["trainability"]) and values["expressivity"] > 0


class Block(nn.Module):
    """A convolution inside a module; of two, the second leaves maps as they are in size."""

    def __init__(self, inputs, outputs, stride=1, padding=1):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, stride, padding)
        self.act = nn.ReLU()

    def forward(self, x):
        return self.act(self.conv(x))


class Wrapped(nn.Module):
    """A network inside a network, with a head that is a module, too."""

    def __init__(self, trunk, head):
        super().__init__()
        self.trunk, self.head = trunk, head

    def forward(self, x):
        return self.head(self.trunk(x))


class Pool(nn.Module):
    def __init__(self, channels, flat=True):
        super().__init__()
        ends = (nn.Flatten(), nn.Linear(channels, 5)) if flat else (nn.Identity(),)
        self.layers = nn.ModuleList([nn.AdaptiveAvgPool2d(1), *ends])

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return x


def blocks(*kinds):
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), *(Block(*kind) for kind in kinds))


def test_az_nas_finds_blocks_that_are_wrapped_and_takes_no_head_for_one():
    """The same network, plain and in wrappers that give logits or maps."""
    kinds = (4, 4), (4, 8, 2), (8, 8)
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))
    expected = proxies.compute(nn.Sequential(*blocks(*kinds), *head), batch(), AZ)
    pooled = nn.Sequential(Pool(8, flat=False), nn.Flatten(), nn.Linear(8, 5))
    for net in (
        nn.Sequential(*blocks(*kinds), Pool(8)),
        Wrapped(blocks(*kinds), Pool(8)),
        Wrapped(Wrapped(Wrapped(blocks(*kinds), nn.Identity()), nn.Identity()), Pool(8)),
        Wrapped(Wrapped(Wrapped(blocks(*kinds), pooled), nn.Identity()), nn.Identity()),
    ):
        assert proxies.compute(net, batch(), AZ) == pytest.approx(expected, rel=1e-5)
    assert math.isfinite(sum(expected.values()))


@pytest.mark.parametrize(("side", "padding", "smaller"), [(9, 1, 5), (7, 0, 3), (9, 0, 4)])
def test_trainability_of_sides_that_the_stride_does_not_divide(side, padding, smaller):
    """By hand: channels of the input's two by two pixels, beyond the end none, beside each sign."""
    kinds = [(4, 6, 2, padding)]
    net = nn.Sequential(*blocks(*kinds), nn.Flatten(), nn.Linear(6 * smaller**2, 5))
    x = torch.randn(BATCH, 3, side, side, generator=torch.Generator().manual_seed(5))
    drawn = initialise.random_(copy.deepcopy(net), 42, "kaiming normal")
    before = drawn[0](x)
    after = drawn[1](before)
    sign = torch.randint(0, 2, after.shape, generator=torch.Generator().manual_seed(42)) * 2.0 - 1
    (g,) = torch.autograd.grad(after, before, sign)
    product = torch.zeros(16, 6)
    for row in range(smaller):
        for column in range(smaller):
            given = torch.zeros(BATCH, 4, 2, 2)
            part = g[:, :, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
            given[:, :, : part.shape[2], : part.shape[3]] = part
            product += given.flatten(1).T @ sign[:, :, row, column]
    sigma = torch.linalg.svdvals(product / sign[:, 0].numel()).max().item()
    expected = 2 - sigma - 1 / (sigma + 1e-6)
    assert after.shape[2] == smaller
    assert one("trainability", net, (x, None)) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("name", AZ)
def test_az_nas_needs_blocks_of_maps(name):
    no_blocks = "has no blocks, by which az-nas is defined: modules that hold others and give maps"
    with pytest.raises(ValueError, match=no_blocks):
        one(name, nn.Sequential(nn.Flatten(), nn.Linear(192, 5)))
    flat = nn.Sequential(nn.Flatten(), nn.TransformerEncoderLayer(192, 2, 10), nn.Linear(192, 5))
    with pytest.raises(ValueError, match=no_blocks):
        one(name, flat)
    unflat = Wrapped(nn.Unflatten(1, (3, 8, 8)), Block(3, 4))
    unflat = nn.Sequential(nn.Flatten(), unflat, nn.Flatten(), nn.Linear(256, 5))
    with pytest.raises(ValueError, match="the first block of Sequential, Wrapped, takes no maps"):
        one(name, unflat)


def test_trainability_of_a_block_that_makes_larger_maps_is_not_defined():
    larger = Wrapped(nn.Upsample(scale_factor=2), Block(4, 4))
    net = nn.Sequential(*blocks((4, 4)), larger, nn.Flatten(), nn.Linear(1024, 5))
    with pytest.raises(ValueError, match=r"a block makes larger maps, \(8, 8\) to \(16, 16\)"):
        one("trainability", net)


# What holds for all of them ------------------------------------------------------------------


def labelled(name: str) -> bool:
    return proxies.get(name).labels


@pytest.mark.parametrize("name", proxies.names())
def test_the_seed_decides_and_nothing_is_touched(name):
    net, data = network(), batch()
    before = copy.deepcopy(net.state_dict())
    torch.manual_seed(0)
    state = torch.random.get_rng_state()
    first, again = (one(name, net, data) for _ in range(2))
    assert first == again or math.isnan(first) and math.isnan(again)
    assert torch.equal(torch.random.get_rng_state(), state)
    for key, value in net.state_dict().items():
        assert torch.equal(value, before[key])
    if name not in ("params", "flops", "epsilon", "linear_regions") and not math.isnan(first):
        assert one(name, net, data, seed=7) != first


BY_ORDER = {"meco", "zico", "zico_released", "zico_signed"}  # of the first image, of two halves
BY_ORDER |= {"trainability"}  # of random signs


@pytest.mark.parametrize("name", [name for name in proxies.names() if name not in BY_ORDER])
def test_the_order_of_the_batch_does_not_count(name):
    x, labels = batch()
    order = torch.randperm(BATCH, generator=torch.Generator().manual_seed(3))
    value, other = one(name, data=(x, labels)), one(name, data=(x[order], labels[order]))
    assert other == pytest.approx(value, rel=1e-3, nan_ok=True)


def test_shared_passes_change_nothing():
    together = proxies.compute(network(), batch(), proxies.names())
    for name, value in together.items():
        assert one(name) == pytest.approx(value, rel=1e-6, nan_ok=True), name


def test_dead_network_has_no_or_zero_scores():
    space = spaces.get("nasbench201")
    dead = "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|"
    x = torch.randn(4, 3, 8, 8)
    values = proxies.compute(space.network(dead, 10, "thin"), (x, torch.arange(4)), proxies.names())
    for name in ("synflow", "jacob_cov", "naswot"):
        assert math.isnan(values[name]) or values[name] == 0, name


def test_recurrent_networks():
    space = spaces.get("nasbench_nlp")
    arch = space.generate(np.random.default_rng(0))
    tokens = torch.randint(nasbench_nlp.WORDS, (6, 3), generator=torch.Generator().manual_seed(0))
    labels = torch.randint(40, (6, 3), generator=torch.Generator().manual_seed(1))
    names = ["grad_norm", "snip", "grasp", "synflow"]
    values = proxies.compute(space.build(arch, 40), (tokens, labels), names)
    assert all(math.isfinite(value) and value != 0 for value in values.values()), values
    with pytest.raises(ValueError, match="has no torch.nn.ReLU"):
        one("naswot", space.build(arch, 40), (tokens, labels))
    with pytest.raises(ValueError, match="jacob_cov needs inputs of real numbers"):
        one("jacob_cov", space.build(arch, 40), (tokens, labels))


def test_every_metric_is_computed_where_the_network_and_the_batch_are():
    """On a second device that is none: it refuses tensors, generators and NumPy from here."""
    script = [sys.executable, str(Path(__file__).with_name("other_device.py"))]
    environment = os.environ | {"PYTHONPATH": str(paths.ROOT)}
    ran = subprocess.run(script, check=True, capture_output=True, env=environment)
    told = json.loads(ran.stdout)
    for name in proxies.names():
        here, there = told[name]
        if name == "epsilon_orthogonal":  # same code; the device has no transposition in place
            assert "must match the size" in there
        else:
            assert there == pytest.approx(here, rel=1e-5, nan_ok=True), name


def test_the_random_numbers_of_a_gpu_have_the_seed_and_are_left_as_they_were(monkeypatch):
    """A GPU of which there is the state of its random numbers alone."""
    gpu = {"state": 3}
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda device: gpu["state"])
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda state, _: gpu.update(state=state))
    monkeypatch.setattr(torch.cuda, "manual_seed_all", lambda seed: gpu.update(state=f"of {seed}"))
    with initialise.fixed_random(7):
        assert gpu == {"state": "of 7"}
    assert gpu == {"state": 3}


# Wrong input ---------------------------------------------------------------------------------


class Fails(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(7, 2)

    def forward(self, x):
        return self.linear(x)


class Pair(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(192, 2)

    def forward(self, x):
        return self.linear(x.flatten(1)), x


@pytest.mark.parametrize(
    ("name", "net", "labels", "message"),
    [
        ("synflw", network(), None, "unknown metric 'synflw'; the known ones are params, flops"),
        ("snip", network(), None, "snip needs labels, and the batch has none"),
        ("jacob_cov", Fails(), None, "Fails fails on inputs of shape"),
        ("epsilon", Fails(), None, "Fails fails on inputs of shape"),
        ("epsilon", Pair(), None, "Pair must return a floating-point tensor, not tuple"),
        ("flops", Pair(), None, "Pair must return a floating-point tensor, not tuple"),
        ("synflow", Pair(), None, "Pair must return a floating-point tensor, not tuple"),
        ("snip", network(), torch.zeros(3, dtype=int), "labels of shape \\(3,\\) do not fit"),
        ("snip", network(), torch.full((BATCH,), 9), "go from 9 to 9, but outputs .* 5 classes"),
        ("naswot", nn.Sequential(nn.Flatten(), nn.Linear(192, 2)), None, "no torch.nn.ReLU"),
        ("ntk", nn.Flatten(), None, "Flatten has no weights"),
    ],
)
def test_errors(name, net, labels, message):
    with pytest.raises(ValueError, match=message):
        one(name, net, (batch()[0], labels))


def test_unknown_scheme():
    with pytest.raises(ValueError, match="unknown scheme 'xavier'; the known ones are uniform"):
        initialise.random_(network(), 0, "xavier")


# The how-to page -----------------------------------------------------------------------------


def test_the_how_to_page_lists_the_metrics_as_they_are(monkeypatch):
    rows = re.findall(
        r"^\| `([a-z_]+)` \|(.*)\|$", (paths.BOOK / "howto.md").read_text("utf-8"), re.M
    )
    listed = {name: [cell.strip() for cell in cells.split("|")[-5:]] for name, cells in rows}
    assert tuple(listed) == proxies.names()
    authors = {name: group.batch_size for group in scoring.GROUPS.values() for name in group.names}
    authors["epsilon"] = inspect.signature(inputs.batch).parameters["batch_size"].default
    backward, grad = [], torch.autograd.grad
    monkeypatch.setattr(torch.autograd, "grad", lambda *a, **k: backward.append(0) or grad(*a, **k))
    monkeypatch.setattr(proxies, "_signs_together", lambda _: None)  # by vmap, unseen
    monkeypatch.setattr(proxies, "INITIALISATIONS", 5)
    x, labels = batch()
    twice = torch.cat([x[BATCH // 2 :]] * 2)  # also fewer linear regions, another first image
    for name, cells in listed.items():
        backward.clear()
        data = one(name, data=(x, labels)) != one(name, data=(twice, labels))
        # naswot only looks back to see which ReLUs reach the output
        needs = [data, proxies.get(name).labels, bool(backward) and name != "naswot"]
        size = str(authors[name]) if data else ""
        better = "lower" if proxies.get(name).lower_is_better else "higher"
        assert cells == [*("yes" if need else "" for need in needs), size, better], name


def test_the_how_to_page_says_of_every_metric_how_far_it_is_the_authors():
    text = (paths.BOOK / "howto.md").read_text("utf-8").partition("| Metric | Source |")[2]
    rows = [row.split(" | ") for row in re.findall(r"^\| ([a-z].*) \|$", text, re.M)]
    assert tuple(name for row in rows for name in row[0].split(", ")) == proxies.names()
    assert {len(row) for row in rows[1:]} == {5}
    known = inspect.getsource(proxies)  # of three metrics only the page names the commit
    for repository, commit in re.findall(r"([\w-]+/[\w-]+) @ (\w{7})", text):
        told = repository in known and commit in known
        assert told or commit in ("ca61347", "aa1ffdb", "e7ac2f3"), commit


def test_a_network_that_te_nas_gives_100_000_ranks_last():
    """As Table 1's page says: no stored condition number is that large."""
    stores = list(paths.RECORDED_SCORES.glob("nasbench201-*-ntk-*"))
    assert len(stores) == 3
    for store in stores:
        scores = pd.read_parquet(store)["ntk"]
        assert scores.isna().any() and scores.max() < 100_000


def test_a_bare_tensor_or_a_class_is_refused():
    """A tensor would be taken apart into inputs and labels."""
    with pytest.raises(ValueError, match="a batch is \\(x, labels\\)"):
        proxies.compute(network(), torch.ones(2, 3, 8, 8), ["params"])
    with pytest.raises(ValueError, match="a network is a torch.nn.Module, made already"):
        proxies.compute(Pair, (torch.ones(2, 3, 8, 8), None), ["epsilon"])
