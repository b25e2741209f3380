"""The contract of scores of a user's own module, over a zoo of small modules."""

import copy
import math
import random
from functools import partial
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, parametrize, prune

from epsutil import initialise, metric, proxies, spaces

N, CLASSES, WORDS = 6, 4, 9
BLOCKS = ("expressivity", "progressivity", "trainability")  # of networks of blocks; tested apart
NAMES = tuple(name for name in proxies.names() if name not in BLOCKS)
EACH = [name for name in NAMES if not name.startswith(("epsilon_k", "epsilon_n"))]  # one code
FEW = [name for name in NAMES if not name.startswith("epsilon_") and "fisher" not in name]
TEXT = {"jacob_cov", "meco"}  # what refuses some modules
NO_RELU = {"naswot", "linear_regions", "swap"}
NO_LAYER = {"fisher", "fisher_weighted"}
NO_WEIGHT = {"synflow", "grad_norm", "snip", "grasp", "grad_sign", "ntk"}
NO_WEIGHT |= {"zico", "zico_released", "zico_signed"}
CONSTANT = {"epsilon"}
UNDRAWN = {"params", "flops", "epsilon"}  # these take no draw
MASK = (torch.arange(40) % 3 > 0).reshape(8, 5)


@pytest.fixture(autouse=True)
def _few_initialisations(monkeypatch):
    monkeypatch.setattr(proxies, "INITIALISATIONS", 4)
    monkeypatch.setattr(proxies, "SWAP_DRAWS", 2)


class Own(nn.Module):
    """A module from a function of itself and the inputs."""

    def __init__(self, forward, **parts):
        super().__init__()
        self.function = forward
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x):
        return self.function(self, x)


def chain(*layers):
    return lambda: nn.Sequential(*(layer() for layer in layers))


def own(forward, **parts):
    return lambda: Own(forward, **{name: part() for name, part in parts.items()})


CONV = partial(nn.Conv2d, 3, 4, 3, padding=1)
HEAD = partial(nn.Linear, 16, CLASSES)
END = (partial(nn.AdaptiveAvgPool2d, 2), nn.Flatten, HEAD)
LINEAR = partial(nn.Linear, 5, 8)
OUT = partial(nn.Linear, 8, CLASSES)
WORD = partial(nn.Embedding, WORDS, 8)


class Rescaled(nn.Module):
    """A layer of one's own, its parameters made by hand."""

    def __init__(self, drawn=False, number=False):
        super().__init__()
        self.linear, self.relu, self.out = LINEAR(), nn.ReLU(), OUT()
        self.scale = nn.Parameter(torch.full((8,), 0.5))
        self.gain = nn.Parameter(torch.rand(()) if number else torch.tensor(0.1))
        self.position = nn.Parameter(torch.randn(1, 8) if drawn else torch.zeros(1, 8))

    def forward(self, x):
        return self.out(self.relu(self.linear(x)) * self.scale * self.gain + self.position)


class Kernel(nn.Module):
    """One that draws its own."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(CLASSES, 5))
        self.reset_parameters()

    def reset_parameters(self):
        nn.init.normal_(self.weight)

    def forward(self, x):
        return F.linear(x, self.weight)


class Counting(nn.Module):
    """What it returns depends on how often it was called."""

    def __init__(self, persistent):
        super().__init__()
        self.layers = chain(LINEAR, nn.ReLU, OUT)()
        self.register_buffer("calls", torch.zeros(()), persistent=persistent)
        self.plain = torch.zeros(())

    def forward(self, x):
        self.calls.add_(1)
        self.plain += 1
        return self.layers(x) * self.calls + self.plain


class Extra(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers, self.state = chain(LINEAR, nn.ReLU, OUT)(), {"calls": 0}

    def get_extra_state(self):
        return dict(self.state)

    def set_extra_state(self, state):
        self.state = state

    def forward(self, x):
        self.state["calls"] += 1
        return self.layers(x) + 0.1 * self.state["calls"]


class Recurrent(nn.Module):
    """Tokens (time, batch) -> logits for each, or for the last step."""

    def __init__(self, kind, last=False):
        super().__init__()
        self.word, self.layer, self.out, self.last = WORD(), kind(8, 5), nn.Linear(5, CLASSES), last

    def forward(self, x):
        h, _ = self.layer(self.word(x))
        return self.out(h[-1] if self.last else h)


class Stepwise(nn.Module):
    """A cell by hand, with in-place arithmetic on its state."""

    def __init__(self, cell):
        super().__init__()
        self.word, self.cell, self.out = WORD(), cell(8, 5), nn.Linear(5, CLASSES)

    def forward(self, x):
        h = None
        for step in self.word(x):
            h = self.cell(step, h)
        return self.out(h)


class Attention(nn.Module):
    def __init__(self, **options):
        super().__init__()
        self.lift = nn.Linear(5, 8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True, **options)
        self.out = nn.Linear(24, CLASSES)

    def forward(self, x):  # images: their 3 channels are the tokens
        h = self.lift(x.flatten(2)[:, :, :5])
        return self.out(self.attention(h, h, h)[0].flatten(1))


class Transformer(nn.Module):
    """Tokens (time, batch)."""

    def __init__(self):
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 2, 10)
        self.word, self.encoder, self.out = WORD(), nn.TransformerEncoder(layer, 2), OUT()

    def forward(self, x):
        return self.out(self.encoder(self.word(x)))


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.word, self.out = WORD(), nn.Linear(8, WORDS)
        self.mix = nn.Linear(8, 8)
        self.out.weight = self.word.weight

    def forward(self, x):
        return self.out(self.mix(self.word(x)).tanh())


def shared():
    layer = nn.Linear(5, 5)
    return nn.Sequential(layer, nn.ReLU(), layer, nn.ReLU(), nn.Linear(5, CLASSES))


def frozen(make):
    return lambda: make().requires_grad_(False)


def partly_frozen():
    network = MLP()
    network[0].requires_grad_(False)
    return network


class Shifted(nn.Linear):
    def forward(self, x):
        return super().forward(x) + 1


def hooked():
    network = MLP()
    network[0].register_forward_hook(lambda _, x, y: y + 1)
    network[2].register_full_backward_hook(lambda _, inner, outer: (2 * inner[0],))
    return network


def keeps_last():
    """Keeps what it computed, with its graph."""
    network = own(remember, layers=MLP)()
    network(torch.ones(2, 5))
    return network


def remember(self, x):
    self.last = {"logits": [self.layers(x)]}
    return self.last["logits"][0]


def functional(self, x):
    return self.out(self.linear(x).add_(1).mul_(2).relu_())


def out_of_place(self, x):
    return self.out(F.relu((self.linear(x) + 1) * 2))


def shift(self, x):
    x -= 1
    x.mul_(2)
    return self.layers(x)


def residual(self, x):
    h = self.conv(x)
    h += self.second(self.relu(h))
    return self.end(h)


def residual_twin(self, x):
    h = self.conv(x)
    return self.end(h + self.second(self.relu(h)))


def weight_normed(norm, layer=LINEAR):
    return chain(lambda: norm(layer()), nn.ReLU, OUT)


MLP = chain(LINEAR, nn.ReLU, OUT)
CNN = chain(CONV, partial(nn.BatchNorm2d, 4), nn.ReLU, *END)
SECOND = partial(nn.Conv2d, 4, 4, 3, padding=1)
PARTS = {"conv": CONV, "second": SECOND, "relu": nn.ReLU, "end": chain(*END)}
OLD_WEIGHT, OLD_SPECTRAL = nn.utils.weight_norm, nn.utils.spectral_norm


class Case(NamedTuple):
    make: object
    x: str = "vectors"
    undefined: frozenset | set = frozenset()  # the metrics that refuse it, which say why
    twin: object = None  # of the same scores, by other code


ZOO = {
    "mlp": Case(MLP),
    "cnn": Case(CNN, "images"),
    "inplace_relu": Case(
        chain(CONV, partial(nn.BatchNorm2d, 4), partial(nn.ReLU, True), *END), "images", twin=CNN
    ),
    "inplace_first": Case(
        chain(partial(nn.ReLU, True), CONV, partial(nn.ReLU, True), *END), "images",
        twin=chain(nn.ReLU, CONV, nn.ReLU, *END),
    ),
    "inplace_after_sigmoid": Case(
        chain(LINEAR, nn.Sigmoid, partial(nn.ReLU, True), OUT),
        twin=chain(LINEAR, nn.Sigmoid, nn.ReLU, OUT),
    ),
    "inplace_functional": Case(
        own(functional, linear=LINEAR, out=OUT), undefined=NO_RELU,
        twin=own(out_of_place, linear=LINEAR, out=OUT),
    ),
    "inplace_inputs": Case(
        own(shift, layers=MLP), twin=own(lambda self, x: self.layers((x - 1) * 2), layers=MLP)
    ),
    "residual": Case(own(residual, **PARTS), "images", twin=own(residual_twin, **PARTS)),
    "dict": Case(own(lambda self, x: {"logits": self.layers(x)}, layers=MLP), undefined=set(NAMES)),
    "tuple": Case(own(lambda self, x: (self.layers(x), x), layers=MLP), undefined=set(NAMES)),
    "whole_numbers": Case(own(lambda self, x: self.layers(x).argmax(1), layers=MLP),
                          undefined=set(NAMES)),
    "one_row": Case(own(lambda self, x: self.layers(x).sum(0), layers=MLP), undefined=set(NAMES)),
    "attention": Case(Attention, "images", NO_RELU),
    "attention_biased": Case(partial(Attention, add_bias_kv=True), "images", NO_RELU),
    "attention_widths": Case(partial(Attention, kdim=8, vdim=8), "images", NO_RELU),
    "attention_kernel": Case(
        own(lambda self, x: self.out(
            F.scaled_dot_product_attention(*[self.lift(x)[:, None]] * 3)[:, 0]
        ), lift=LINEAR, out=OUT), undefined=NO_RELU,
    ),
    "transformer_of_images": Case(
        lambda: nn.Sequential(
            nn.Flatten(2), nn.TransformerEncoderLayer(36, 2, 10, batch_first=True), nn.Flatten(),
            nn.Linear(108, CLASSES),
        ), "images", NO_RELU,
    ),
    "transformer": Case(Transformer, "tokens", TEXT | NO_RELU),
    "lstm": Case(partial(Recurrent, nn.LSTM), "tokens", TEXT | NO_RELU),
    "lstm_last": Case(partial(Recurrent, nn.LSTM, True), "tokens", TEXT | NO_RELU),
    "gru": Case(partial(Recurrent, nn.GRU), "tokens", TEXT | NO_RELU),
    "rnn_last": Case(partial(Recurrent, nn.RNN, True), "tokens", TEXT | NO_RELU),
    "gru_cell": Case(partial(Stepwise, nn.GRUCell), "tokens", TEXT | NO_RELU),
    "embedding": Case(chain(WORD, partial(nn.Linear, 8, 8), nn.ReLU, OUT), "tokens", TEXT),
    "embedding_bag": Case(
        own(lambda self, x: self.out(self.relu(self.bag(x.T))), relu=nn.ReLU, out=OUT,
            bag=partial(nn.EmbeddingBag, WORDS, 8)), "tokens", TEXT,
    ),
    "batch_first": Case(
        own(lambda self, x: self.out(self.bag(x)), out=OUT, bag=partial(nn.EmbeddingBag, WORDS, 8)),
        "tokens", set(NAMES),
    ),
    "depthwise": Case(
        chain(partial(nn.Conv2d, 3, 6, 3, groups=3), nn.ReLU, partial(nn.Conv2d, 6, 4, 1), *END),
        "images",
    ),
    "transposed": Case(
        chain(partial(nn.ConvTranspose2d, 3, 4, 2, stride=2), nn.ReLU, *END), "images"
    ),
    "conv1d": Case(
        chain(partial(nn.Flatten, 2), partial(nn.Conv1d, 3, 4, 3), nn.ReLU,
              partial(nn.AdaptiveAvgPool1d, 4), nn.Flatten, HEAD), "images",
    ),
    "group_norm": Case(chain(CONV, partial(nn.GroupNorm, 2, 4), nn.ReLU, *END), "images"),
    "layer_norm": Case(chain(CONV, partial(nn.LayerNorm, (6, 6)), nn.ReLU, *END), "images"),
    "instance_norm": Case(
        chain(CONV, partial(nn.InstanceNorm2d, 4, affine=True, track_running_stats=True), nn.ReLU,
              *END), "images",
        twin=chain(CONV, partial(nn.InstanceNorm2d, 4, affine=True), nn.ReLU, *END),
    ),
    "weight_norm": Case(weight_normed(parametrizations.weight_norm), twin=MLP),
    "weight_norm_old": Case(weight_normed(OLD_WEIGHT), twin=MLP),
    "weight_norm_conv": Case(
        chain(partial(lambda: OLD_WEIGHT(CONV())), nn.ReLU, *END), "images",
        twin=chain(CONV, nn.ReLU, *END),
    ),
    "spectral_norm": Case(weight_normed(parametrizations.spectral_norm), undefined=CONSTANT),
    "spectral_norm_old": Case(
        weight_normed(OLD_SPECTRAL), undefined=CONSTANT,
        twin=weight_normed(parametrizations.spectral_norm),
    ),
    "orthogonal": Case(weight_normed(parametrizations.orthogonal), undefined=CONSTANT),
    "pruned": Case(
        weight_normed(lambda layer: prune.custom_from_mask(layer, "weight", MASK)),
        undefined=set(NAMES) - UNDRAWN,
    ),
    "tied": Case(Tied, "tokens", TEXT | NO_RELU),
    "shared": Case(shared),
    "frozen": Case(frozen(MLP), twin=MLP),
    "partly_frozen": Case(partly_frozen, twin=MLP),
    "lazy": Case(
        chain(partial(nn.LazyConv2d, 4, 3, padding=1), nn.LazyBatchNorm2d, nn.ReLU,
              partial(nn.AdaptiveAvgPool2d, 2), nn.Flatten, partial(nn.LazyLinear, CLASSES)),
        "images", twin=CNN,
    ),
    "dropout": Case(chain(LINEAR, nn.ReLU, nn.Dropout, OUT), twin=MLP),
    "functional_dropout": Case(own(lambda self, x: F.dropout(self.layers(x), 0.3), layers=MLP)),
    "counting": Case(partial(Counting, True)),
    "counting_quietly": Case(partial(Counting, False)),
    "extra_state": Case(Extra),
    "keeps_last": Case(keeps_last, twin=own(lambda self, x: self.layers(x), layers=MLP)),
    "hooked": Case(
        hooked,
        twin=chain(partial(Shifted, 5, 8), nn.ReLU, OUT),
    ),
    "float64": Case(lambda: MLP().double(), "vectors64"),
    "bfloat16": Case(lambda: MLP().bfloat16(), twin=MLP),
    "scripted": Case(lambda: torch.jit.script(MLP()), undefined=set(NAMES)),
    "traced": Case(lambda: nn.Sequential(torch.jit.trace(MLP(), torch.rand(2, 5))),
                   undefined=set(NAMES)),
    "compiled": Case(lambda: torch.compile(MLP(), backend="eager"), twin=MLP),
    "compiled_inside": Case(
        lambda: nn.Sequential(torch.compile(MLP(), backend="eager")), twin=lambda: MLP()
    ),
    "no_parameters": Case(
        chain(nn.Flatten, nn.ReLU), undefined=NO_WEIGHT | NO_LAYER
    ),
    "by_hand": Case(Rescaled),
    "by_hand_drawn": Case(partial(Rescaled, drawn=True), undefined=set(NAMES) - UNDRAWN),
    "by_hand_number": Case(partial(Rescaled, number=True), undefined=set(NAMES) - UNDRAWN),
    "by_hand_reset": Case(Kernel, undefined=NO_RELU | NO_LAYER),
    "values_decide": Case(
        own(lambda self, x: self.layers(x) * (2 if x.sum() > 0 else 1), layers=MLP)
    ),
    "uncopyable": Case(
        own(lambda self, x: self.layers(x), layers=MLP, lock=lambda: (i for i in ())),
        undefined=set(NAMES),
    ),
    "unregistered": Case(own(lambda self, x: self.layers[0](x), layers=lambda: [MLP()]),
                         undefined=set(NAMES)),
}  # fmt: skip


def batch(kind):
    draw = torch.Generator().manual_seed(5)
    labels = torch.randint(CLASSES, (N,), generator=draw)
    if kind == "tokens":
        return torch.randint(WORDS, (7, N), generator=draw), labels
    if kind == "images":
        return torch.randn(N, 3, 6, 6, generator=draw), labels
    x = torch.randn(N, 5, generator=draw)
    return (x.double() if kind == "vectors64" else x), labels


def made(name, seed=0, make=None):
    """Make a module while torch's random state is that of a seed."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return (make or ZOO[name].make)()


def inputs(name):
    x, labels = batch(ZOO[name].x)
    if name in ("lstm", "gru", "embedding", "transformer", "tied"):  # a class for every token
        labels = torch.randint(CLASSES, x.shape, generator=torch.Generator().manual_seed(6))
    return x, labels


def each(network, data, names=EACH, **arguments):
    """Score by each metric alone; the message where it is refused."""
    values = {}
    for name in names:
        try:
            values[name] = proxies.compute(network, data, [name], **arguments)[name]
        except ValueError as error:
            values[name] = str(error)
    return values


def same(values, others, rel=0.0):
    assert values.keys() == others.keys()
    for name, value in values.items():
        other = others[name]
        if isinstance(value, str) or isinstance(other, str):
            assert isinstance(value, str) and isinstance(other, str), (name, value, other)
        else:
            assert value == pytest.approx(other, rel=rel, abs=0, nan_ok=True), name


def snapshot(network, data):
    """Return all that must be left alone, as something that can be compared."""

    def plain(value):
        if isinstance(value, torch.Tensor):
            lazy = nn.parameter.is_lazy(value)
            grad = None if lazy or not value.is_leaf or value.grad is None else value.grad.tolist()
            content = "lazy" if lazy else value.detach().tolist()
            return id(value), str(value.dtype), content, value.requires_grad, grad
        if isinstance(value, dict):
            return {key: plain(part) for key, part in value.items()}
        if isinstance(value, list | tuple):
            return [plain(part) for part in value]
        return value if isinstance(value, str | int | float | bool) else id(value)

    modules = []
    for name, module in network.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            modules.append((name, [plain(p) for p in module.parameters()], module.training))
        else:
            modules.append((name, plain(dict(vars(module)))))
    states = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    settings = torch.is_grad_enabled(), torch.backends.mha.get_fastpath_enabled()
    return modules, plain(list(data)), states, settings


@pytest.mark.parametrize("name", ZOO)
def test_every_module_has_its_scores_and_is_left_alone(name):
    """Points 1 and 6: scores of all but the named metrics, nothing is touched, errors are told."""
    network, data = made(name), inputs(name)
    if ZOO[name].x != "tokens":
        data[0].requires_grad_()
    before = snapshot(network, data)
    values = each(network, data)
    assert snapshot(network, data) == before
    refused = {key for key, value in values.items() if isinstance(value, str)}
    assert refused == set(ZOO[name].undefined) & set(EACH), values
    for key in refused:
        assert "\n" not in values[key] and "element 0 of tensors" not in values[key]
    try:
        metric.epsilon(network, data[0])
    except ValueError:
        assert "epsilon" in refused or name == "one_row"
    assert snapshot(network, data) == before


@pytest.mark.parametrize("name", ZOO)
def test_equal_architectures_have_equal_scores(name):
    """Point 2: whatever was drawn before, and whatever has run; point 3: alone and together."""
    defined = [key for key in NAMES if key not in ZOO[name].undefined]
    if not defined:
        with pytest.raises(ValueError):
            proxies.compute(made(name, 1), inputs(name), NAMES)
        return
    data = inputs(name)
    first = proxies.compute(made(name, 0), data, defined)
    with torch.inference_mode():
        second = proxies.compute(made(name, 1), data, defined[::-1])
    for key, value in first.items():
        assert value == pytest.approx(second[key], rel=0, abs=0, nan_ok=True), key
    alone = each(made(name, 2), data, [key for key in EACH if key in defined])
    same({key: first[key] for key in alone}, alone, rel=1e-6)


@pytest.mark.parametrize("name", [name for name, case in ZOO.items() if case.twin])
def test_a_twin_by_other_code_has_the_same_scores(name):
    """Points 3 and 4: in place or not, lazy or not, compiled, normed: the same function."""
    data = inputs(name)
    names = [key for key in EACH if key not in ("params", *ZOO[name].undefined)]
    if name.startswith("compiled"):
        torch.compiler.reset()
    with torch.no_grad():
        values = each(made(name), data, names)
    same(values, each(made(name, make=ZOO[name].twin), data, names), rel=1e-5)


@pytest.mark.parametrize("name", ["mlp", "lstm", "transformer", "residual", "weight_norm_old"])
def test_the_seed_decides(name):
    data, names = inputs(name), ["snip", "grad_norm"]
    network = made(name)
    values = [proxies.compute(network, data, names, seed=seed) for seed in (1, 1, 2)]
    assert values[0] == values[1] and all(values[0][key] != values[2][key] for key in names)


# 4. Numbers that are known ------------------------------------------------------------------

T, E, H = 7, 8, 5  # time, embedding, units
ATTENTION = 3 * (5 * 8) + 3 * 8 * 24 + 2 * (3 * 3 * 8) + 3 * 8 * 8 + 24 * CLASSES
LAYER = T * (3 * E * E) + 2 * (T * T * E) + T * E * E + 2 * (T * E * 10)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mlp", 5 * 8 + 8 * CLASSES),
        ("lstm", T * (4 * H * (E + H) + H * CLASSES)),
        ("lstm_last", T * 4 * H * (E + H) + H * CLASSES),
        ("gru", T * (3 * H * (E + H) + H * CLASSES)),
        ("rnn_last", T * H * (E + H) + H * CLASSES),
        ("gru_cell", T * 3 * H * (E + H) + H * CLASSES),
        ("embedding", T * (E * E + E * CLASSES)),
        ("embedding_bag", E * CLASSES),
        ("tied", T * (E * E + E * WORDS)),
        ("attention", ATTENTION),
        ("transformer", 2 * LAYER + T * E * CLASSES),
        (
            "transformer_of_images",
            4 * (3 * 36 * 36) + 2 * (3 * 3 * 36) + 2 * (3 * 36 * 10) + 108 * CLASSES,
        ),
        ("depthwise", 6 * 9 * 16 + 6 * 4 * 16 + 16 * CLASSES),
        ("transposed", 36 * 3 * 4 * 4 + 16 * CLASSES),
        ("by_hand_reset", 5 * CLASSES),
        ("no_parameters", 0),
    ],
)
def test_flops_are_those_counted_by_hand(name, expected):
    """For one image or one sequence of tokens."""
    assert each(made(name), inputs(name), ["flops"]) == {"flops": expected}


@torch.library.custom_op("zoo::square", mutates_args=())
def _square(x: torch.Tensor) -> torch.Tensor:
    return x @ x.T @ x


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda self, x: _square(x), "no count is known of zoo.square"),
        (
            lambda self, x: torch.cdist(x, x.new_ones(3, 5), p=1),
            "no count is known of aten._cdist_forward",
        ),
        (lambda self, x: torch.fft.fft(x).real, "no count is known of aten._fft_r2c"),
        (lambda self, x: F.bilinear(x, x, x.new_ones(2, 5, 5)), "aten._trilinear"),
        (lambda self, x: x.new_ones(len(x), 5).mv(x[0])[:, None] + x, 5),
        (lambda self, x: torch.einsum("bi,ij->bj", x, x.new_ones(5, 3)), 15),
        (lambda self, x: torch.cat([x, x * x, x.softmax(1)], 1).cumsum(1), 0),
        (lambda self, x: torch.linalg.svdvals(x[:, :, None] * x[:, None]), "aten._linalg_svd"),
        (lambda self, x: torch.linalg.inv(x.new_ones(5, 5).tril())[:1] + x, "aten.linalg_inv_ex"),
        (lambda self, x: F.normalize(x, dim=1) + torch.linalg.vector_norm(x) + x.norm(dim=0), 0),
        (lambda self, x: x * F.cosine_similarity(x, x + 1)[:, None] + torch.dist(x, x * x), 0),
        (lambda self, x: x.masked_fill(x > 0, x.new_tensor(2)) + x.clone().fill_(x[0, 0]), 0),
        (lambda self, x: x + torch.isin(x, x[:1]) + F.nll_loss(x, x.argmax(1)), 0),
        (lambda self, x: x + F.mse_loss(x, x * x) + F.huber_loss(x, x) + F.l1_loss(x, x * x), 0),
        (lambda self, x: x + F.binary_cross_entropy(x.sigmoid(), x.sigmoid().round()), 0),
    ],
)
def test_an_operation_is_counted_or_named(function, expected):
    (value,) = each(Own(function), batch("vectors"), ["flops"]).values()
    assert expected in value if isinstance(expected, str) else value == expected


SIDE, WINDOW, C, HEADS, HIDDEN, POSITIONS = 6, 3, 4, 2, 8, 5  # POSITIONS: of hidden units


class Swin(nn.Module):
    """The block of torchvision's swin_t or swin_v2_t, with shifted windows, by their operators."""

    def __init__(self, second):
        super().__init__()
        self.second = second
        self.norm, self.qkv, self.proj = nn.LayerNorm(C), nn.Linear(C, 3 * C), nn.Linear(C, C)
        self.mlp = nn.Sequential(nn.Linear(C, HIDDEN), nn.GELU(), nn.Linear(HIDDEN, C))
        self.table = nn.Parameter(torch.zeros((2 * WINDOW - 1) ** 2, HEADS))
        self.scale = nn.Parameter(torch.full((HEADS, 1, 1), 2.0))
        self.bias_mlp = nn.Sequential(
            nn.Linear(2, POSITIONS), nn.ReLU(inplace=True), nn.Linear(POSITIONS, HEADS, bias=False)
        )
        steps = torch.arange(WINDOW)
        places = torch.stack(torch.meshgrid(steps, steps, indexing="ij")).flatten(1)
        apart = places[:, :, None] - places[:, None] + WINDOW - 1
        self.register_buffer("index", (apart[0] * (2 * WINDOW - 1) + apart[1]).flatten())
        steps = torch.arange(1.0 - WINDOW, WINDOW)
        places = torch.stack(torch.meshgrid(steps, steps, indexing="ij"), -1)
        self.register_buffer("places", places.sign() * torch.log2(places.abs() + 1))

    def windows(self, x):
        n = SIDE // WINDOW
        x = x.view(-1, n, WINDOW, n, WINDOW, *x.shape[3:]).transpose(2, 3)
        return x.reshape(-1, WINDOW**2, *x.shape[5:])

    def mask(self, x, shift):
        mask = x.new_zeros(SIDE, SIDE)
        parts = (slice(0, -WINDOW), slice(-WINDOW, -shift), slice(-shift, None))
        for number, (rows, columns) in enumerate((r, c) for r in parts for c in parts):
            mask[rows, columns] = number
        mask = self.windows(mask[None, ..., None])[..., 0]
        mask = mask[:, None] - mask[:, :, None]
        return mask.masked_fill(mask != 0, -100.0).masked_fill(mask == 0, 0.0)

    def attention(self, x, shift=1):
        n, tokens = len(x), WINDOW**2
        x = self.windows(torch.roll(F.pad(x, (0, 0, 0, 0)), (-shift, -shift), (1, 2)))
        bias = self.qkv.bias
        if self.second:
            bias = bias.clone()
            bias[C : 2 * C].zero_()
        qkv = F.linear(x, self.qkv.weight, bias).reshape(len(x), tokens, 3, HEADS, C // HEADS)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        if self.second:
            table = self.bias_mlp(self.places).view(-1, HEADS)
            weights = F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).transpose(-2, -1)
            weights = weights * self.scale.clamp(max=math.log(100.0)).exp()
        else:
            table, weights = self.table, q.matmul(k.transpose(-2, -1))
        bias = table[self.index].view(tokens, tokens, HEADS).permute(2, 0, 1)[None]
        weights = weights + (16 * bias.sigmoid() if self.second else bias)
        weights = weights.view(n, -1, HEADS, tokens, tokens) + self.mask(x, shift)[:, None]
        weights = F.dropout(weights.view(-1, HEADS, tokens, tokens).softmax(-1), 0.0)
        x = self.proj(weights.matmul(v).transpose(1, 2).reshape(-1, tokens, C))
        x = x.view(n, SIDE // WINDOW, SIDE // WINDOW, WINDOW, WINDOW, C).transpose(2, 3)
        return torch.roll(x.reshape(n, SIDE, SIDE, C), (shift, shift), (1, 2)).contiguous()

    def forward(self, x):
        with torch.profiler.record_function("swin"):
            x = (
                x + self.norm(self.attention(x))
                if self.second
                else x + self.attention(self.norm(x))
            )
            return (x + self.mlp(x)).mean((1, 2))


@pytest.mark.parametrize("second", [False, True])
def test_flops_of_swin_are_those_counted_by_hand(second):
    """For one image: the bias of positions is computed once for a whole batch."""
    pixels, places = SIDE**2, (2 * WINDOW - 1) ** 2
    macs = pixels * C * (3 * C + C + 2 * HIDDEN)  # qkv and projection, both layers of the MLP
    macs += 2 * pixels * WINDOW**2 * C  # each pixel with those of its window: weights, values
    macs += second * places * (2 * POSITIONS + POSITIONS * HEADS)
    x = torch.rand(N, SIDE, SIDE, C)
    assert proxies.compute(Swin(second), (x, None), ["flops"], seed=None) == {"flops": macs}


def test_flops_where_a_network_takes_no_single_input():
    """BatchNorm has no statistics of one value: then the batch is counted."""
    network = nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.Linear(8, CLASSES))
    assert each(network, batch("vectors"), ["flops"]) == {"flops": 5 * 8 + 8 * CLASSES}


def test_the_rows_of_ntk_are_sequences_of_tokens():
    (tokens, labels), network = inputs("gru"), made("gru")
    initialise.random_(network, 42)
    layer, out = network.layer, network.out
    weights = [layer.weight_ih_l0, layer.weight_hh_l0, out.weight]
    rows = []
    for i in range(N):
        gradients = torch.autograd.grad(network(tokens[:, [i]]).sum(), weights)
        rows.append(torch.cat([g.flatten() for g in gradients]).double())
    values = np.linalg.eigvalsh((torch.stack(rows) @ torch.stack(rows).T).numpy())
    expected = values[-1] / values[0]
    assert each(made("gru"), (tokens, labels), ["ntk"])["ntk"] == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("name", ["lstm", "gru_cell", "values_decide", "counting", "attention"])
def test_grad_sign_by_a_loop(name):
    (x, labels), network = inputs(name), made(name)
    initialise.random_(network, 42)
    axis, total = (1 if ZOO[name].x == "tokens" else 0), 0
    norms = (nn.Embedding,)
    weights = [
        p
        for m in network.modules()
        if not isinstance(m, norms)
        for p in m.parameters(recurse=False)
        if p.ndim > 1
    ]
    for i in range(N):
        lone = copy.deepcopy(network.eval())
        logits = lone(x.select(axis, i).unsqueeze(axis))
        label = labels[:, [i]] if labels.ndim > 1 else labels[[i]]
        loss = F.cross_entropy(logits.flatten(0, -2), label.flatten())
        copies = [p for m in lone.modules() if not isinstance(m, norms)
                  for p in m.parameters(recurse=False) if p.ndim > 1]  # fmt: skip
        signs = torch.autograd.grad(loss, copies)
        total = [s.sign() + (total[k] if total else 0) for k, s in enumerate(signs)]
    assert len(weights) == len(total)
    expected = sum(float(t.abs().sum()) for t in total)
    assert each(made(name), (x, labels), ["grad_sign"])["grad_sign"] == pytest.approx(
        expected, abs=4
    )


def test_nasbench_nlp_in_every_metric_that_reads_tokens():
    space = spaces.get("nasbench_nlp")
    recipe = {
        "f": {"op": "linear", "input": ["x", "h_prev_0"]},
        "h_new_0": {"op": "activation_tanh", "input": ["f"]},
    }
    tokens, labels = torch.arange(6).reshape(2, 3), torch.arange(6).reshape(2, 3)
    network = space.build(recipe, 9)
    values = each(network, (tokens, labels), FEW)
    refused = {key for key, value in values.items() if isinstance(value, str)}
    assert refused == TEXT | NO_RELU, values
    macs = 2 * sum(u * (i + u) for i, u in [(400, 600), (600, 600), (600, 400)])
    assert values["flops"] == macs and values["grad_sign"] > 0


def test_fisher_sees_activations_as_the_layer_gave_them():
    """By hand: what a layer gives is changed in place afterwards."""
    data = inputs("inplace_functional")
    network = made("inplace_functional")
    initialise.random_(network, 42)
    first = network.linear(data[0])
    first.retain_grad()
    second = network.out(((first + 1) * 2).relu())
    second.retain_grad()
    F.cross_entropy(second, data[1]).backward()
    expected = sum(float(((a * a.grad) ** 2).mean(0).sum()) / 2 for a in (first, second))
    value = each(made("inplace_functional"), data, ["fisher"])["fisher"]
    assert value == pytest.approx(expected, rel=1e-5)


def test_fisher_of_tokens_adds_up_what_a_unit_does_over_time():
    tokens, labels = inputs("lstm")
    network = made("lstm")
    initialise.random_(network, 42)
    h, _ = network.layer(network.word(tokens))
    a = network.out(h)  # time, batch, units
    a.retain_grad()
    F.cross_entropy(a.flatten(0, 1), labels.flatten()).backward()
    expected = float(((a * a.grad).sum(0) ** 2).mean(0).sum()) / 2
    value = each(made("lstm"), (tokens, labels), ["fisher"])["fisher"]
    assert value == pytest.approx(expected, rel=1e-5)


def test_a_spectral_norm_is_that_of_the_drawn_weight():
    """The twin: a plain layer with the drawn weight over its largest singular value."""
    data, names = inputs("spectral_norm"), ["snip", "synflow", "grad_norm", "ntk"]
    twin = initialise.random_(MLP(), 42)
    with torch.no_grad():
        twin[0].weight /= np.linalg.svd(twin[0].weight.numpy(), compute_uv=False)[0]
    expected = each(twin, data, names, seed=None)
    same(each(made("spectral_norm"), data, names), expected, rel=1e-3)


# 5. Labels ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in NAMES if proxies.get(name).labels])
@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (torch.zeros(N, 1, dtype=int), r"labels of shape \(6, 1\) do not fit outputs of shape"),
        (torch.zeros(1, dtype=int), r"labels of shape \(1,\) do not fit outputs of shape \(6, 4\)"),
        (torch.zeros((), dtype=int), r"labels of shape \(\) do not fit"),
        (torch.eye(N, CLASSES).long(), r"labels of shape \(6, 4\) do not fit"),
        (torch.full((N,), CLASSES), "go from 4 to 4, but outputs .* have 4 classes, 0 to 3"),
        (torch.full((N,), -1), "go from -1 to -1"),
        (torch.zeros(N), "are torch.float32, not whole numbers"),
        (torch.zeros(N, dtype=bool), "are torch.bool, not whole numbers"),
        (None, "needs labels, and the batch has none"),
    ],
)
def test_labels_are_checked_for_every_metric(name, labels, message):
    with pytest.raises(ValueError, match=f"{name}.*{message}"):
        proxies.compute(made("mlp"), (batch("vectors")[0], labels), ["params", name])


def test_labels_may_be_of_any_whole_numbers_and_for_a_loss_of_ones_own_of_any_kind():
    x, labels = batch("vectors")
    plain = each(made("mlp"), (x, labels), ["snip"])
    assert each(made("mlp"), (x.numpy(), labels.to(torch.uint8).numpy()), ["snip"]) == plain
    targets = F.one_hot(labels, CLASSES).float()
    loss = nn.CrossEntropyLoss()
    same(each(made("mlp"), (x, targets), ["snip"], loss=loss), plain, rel=1e-5)
    with pytest.raises(ValueError, match="not one for each of 6 inputs"):
        proxies.compute(made("mlp"), (x, targets[:2]), ["snip"], loss=loss)


# 6. What is wrong is said -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("dict", "Own must return a floating-point tensor, not dict with the keys logits; wrap it"),
        ("tuple", "not tuple of Tensor, Tensor; wrap it"),
        ("whole_numbers", r"not a tensor of torch.int64 and shape \(6,\)"),
        ("one_row", r"Own returns tensors of shape \(4,\) and \(4,\) for 2 and 3 inputs"),
        ("batch_first", "time comes first in one of tokens"),
        ("scripted", "RecursiveScriptModule is, or holds, a scripted or traced module"),
        ("traced", "Sequential is, or holds, a scripted or traced module"),
        ("uncopyable", "Own cannot be copied, .* 'generator'"),
        ("unregistered", r"a parameter of shape \(8, 5\) is not registered: hold modules in"),
        ("by_hand_drawn", r"draws position of Rescaled, of shape \(1, 8\)"),
        ("by_hand_number", r"draws gain of Rescaled, of shape \(\)"),
        ("pruned", "draws weight_orig of Linear"),
    ],
)
def test_what_is_wrong_with_a_module_is_said(name, message):
    with pytest.raises(ValueError, match=message):
        proxies.compute(made(name), inputs(name), ["snip" if "draws" in message else "params"])


def test_what_is_wrong_with_a_metric_is_said():
    """The metric, the module, shape and dtype; here of a function without a derivative."""

    class Stuck(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, gradient):
            raise RuntimeError("no\nderivative")

    network = own(lambda self, x: self.out(Stuck.apply(self.linear(x))), linear=LINEAR, out=OUT)()
    for name in ("snip", "synflow", "grad_sign", "grasp", "ntk", "fisher", "jacob_cov"):
        start = f"{name} of Own fails on inputs of shape (6, 5) and type torch.float32: "
        message = each(network, batch("vectors"), [name])[name]
        assert message == f"{start}RuntimeError: no derivative"
    message = each(made("float64"), batch("vectors"), ["snip"])["snip"]
    assert "fails on inputs of shape (6, 5) and type torch.float32" in message


def test_a_state_made_on_the_way_has_the_precision_of_the_metric():
    """synflow computes in float64, torch.zeros makes float32 unless told."""

    def stepwise(zeros):
        def forward(self, x):
            h = zeros(x)
            for step in self.word(x):
                h = self.cell(step, h)
            return self.out(h)

        return own(forward, word=WORD, cell=partial(nn.GRUCell, 8, 8), out=OUT)

    plain = stepwise(lambda x: torch.zeros(x.shape[1], 8))
    told = stepwise(lambda x: torch.zeros(x.shape[1], 8, dtype=torch.get_default_dtype()))
    assert torch.get_default_dtype() == torch.float32
    values = [each(make(), batch("tokens"), ["synflow"])["synflow"] for make in (plain, told)]
    assert values[0] == values[1] > 0
    assert torch.get_default_dtype() == torch.float32


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("text", ["params"]), "a batch is a tensor or an array of numbers, not str"),
        ((None, ["params"]), "not NoneType"),
        ((torch.rand(3, 5), "params"), r"names is a list of metrics: \['params'\]"),
    ],
)
def test_a_batch_and_names_of_another_kind_are_named(arguments, message):
    x, names = arguments
    with pytest.raises(ValueError, match=message):
        proxies.compute(made("mlp"), (x, None), names)


def test_a_batch_of_one_has_scores_but_where_inputs_are_compared():
    x, labels = batch("vectors")
    values = each(made("mlp"), (x[:1], labels[:1]))
    assert {key for key, value in values.items() if isinstance(value, str)} == {
        "jacob_cov",
        "zico",  # compares two halves of a batch
        "zico_released",
        "zico_signed",
    }
    assert "jacob_cov compares inputs, and the batch has only one" in values["jacob_cov"]
    assert math.isnan(values["epsilon"]) and values["ntk"] == pytest.approx(1)


def test_a_module_is_left_alone_after_an_exception():
    calls = []

    def fails_later(self, x):
        calls.append(x)
        x.zero_()
        self.layers[1].bias = None
        self.buffer.add_(1)
        random.random(), np.random.rand(), torch.rand(1)
        if len(calls) > 3:
            raise RuntimeError("two\nlines")
        return self.layers(x)

    network = own(fails_later, layers=MLP)()
    network.register_buffer("buffer", torch.zeros(1), persistent=False)
    data = batch("vectors")
    before = snapshot(network, data)
    with pytest.raises(ValueError, match="Own fails on inputs of shape .*: two lines"):
        proxies.compute(network, data, NAMES)
    calls.clear()
    with pytest.raises(ValueError, match="two lines"):
        metric.outputs(network, data[0], [1.0] * 5)
    assert snapshot(network, data) == before


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_modes_around_the_call_do_not_count(mode):
    for name in ("cnn", "lstm", "attention", "transformer", "weight_norm_old"):
        data, defined = inputs(name), [n for n in FEW if n not in ZOO[name].undefined]
        plain = proxies.compute(made(name), data, defined)
        with mode(), torch.autocast("cpu", torch.bfloat16):
            network, inside = made(name), tuple(part.clone() for part in data)
            same(proxies.compute(network, inside, defined), plain)
            value = metric.epsilon(network, inside[0], (0.1, 1))
        same({"": value}, {"": metric.epsilon(made(name), data[0], (0.1, 1))}, rel=1e-5)


# 7. Which parameters are what ---------------------------------------------------------------


def test_constants_are_set_in_every_kind_of_module():
    attention = nn.MultiheadAttention(8, 2, add_bias_kv=True)
    initialise.constant_(attention, 0.3)
    for name, parameter in attention.named_parameters():
        assert (parameter == (0.0 if "bias" in name else torch.tensor(0.3))).all(), name
    for make in (nn.LSTM, nn.GRUCell):
        parameters = initialise.constant_(make(3, 2), 0.3).parameters()
        assert all((parameter == torch.tensor(0.3)).all() for parameter in parameters)
    tied, words = made("tied"), made("tied").word.weight
    initialise.constant_(tied, 0.3)
    assert torch.equal(tied.word.weight, words) and not tied.out.bias.any()
    normed = made("weight_norm")
    initialise.constant_(normed, 0.3)
    torch.testing.assert_close(normed[0].weight, torch.full((8, 5), 0.3))
    with pytest.raises(ValueError, match="weight of ParametrizedLinear, as SpectralNorm makes it"):
        initialise.constant_(made("spectral_norm"), 0.3)


def test_epsilon_of_attention_by_hand():
    """Under a constant weight and no biases, attention is a mean over equal units."""
    x, w = batch("images")[0], (0.1, 1.0)
    rows = []
    for weight in w:
        h = weight * x.flatten(2)[:, :, :5].sum(2).double()  # each of 8 units, by token
        qk = 8 * weight * h  # of every unit after the projection
        scores = torch.einsum("ni,nj->nij", qk, qk) * 4 / 2  # 4 units a head, over sqrt(4)
        mixed = (scores.softmax(2) @ qk[:, :, None])[:, :, 0]
        rows.append((8 * weight * mixed * 8 * weight).sum(1).repeat_interleave(CLASSES).numpy())
    value = metric.epsilon(made("attention").double(), x.double(), w)
    assert value == pytest.approx(metric.from_outputs(np.stack(rows)), rel=1e-6)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("layer_norm", ["0.weight", "5.weight"]),
        ("group_norm", ["0.weight", "5.weight"]),
        (
            "attention_biased",
            ["lift.weight", "attention.in_proj_weight", "attention.out_proj.weight", "out.weight"],
        ),
        ("lstm", ["layer.weight_ih_l0", "layer.weight_hh_l0", "out.weight"]),
        ("tied", ["mix.weight"]),
        ("frozen", ["0.weight", "2.weight"]),
        ("weight_norm", ["0.weight", "2.weight"]),
        ("by_hand", ["linear.weight", "out.weight"]),
        ("embedding_bag", ["out.weight"]),
    ],
)
def test_which_parameters_are_weights(name, expected):
    """By snip, whose terms are known, at the weights that the module has."""
    network, data = made(name), inputs(name)
    if name == "weight_norm":  # the weight that it gives, in a plain layer
        twin = MLP()
        twin.load_state_dict({key: getattr(network[int(key[0])], key[2:]) for key in
                              ("0.weight", "0.bias", "2.weight", "2.bias")})  # fmt: skip
    else:
        twin = copy.deepcopy(network).requires_grad_().eval()
    logits = twin(data[0])
    F.cross_entropy(logits.flatten(0, -2), data[1].flatten()).backward()
    weights = [twin.get_parameter(path) for path in expected]
    total = sum(float((weight * weight.grad).abs().sum()) for weight in weights)
    value = proxies.compute(network, data, ["snip"], seed=None)["snip"]
    assert value == pytest.approx(total, rel=1e-5)


def test_trainable_parameters_are_counted_as_they_are():
    sizes = {"mlp": 5 * 8 + 8 + 8 * CLASSES + CLASSES, "frozen": 0,
             "partly_frozen": 8 * CLASSES + CLASSES, "weight_norm_old": 5 * 8 + 8 + 8 + 36,
             "lazy": 3 * 4 * 9 + 4 + 8 + 16 * CLASSES + CLASSES}  # fmt: skip
    for name, size in sizes.items():
        assert each(made(name), inputs(name), ["params"]) == {"params": size}, name


def test_two_metrics_of_one_name_are_an_error():
    def snip(passes):
        return 0.0

    with pytest.raises(ValueError, match="there is a metric of the name 'snip' already"):
        proxies.proxy()(snip)
    assert proxies.get("snip").function is not snip


def test_a_parametrisation_of_ones_own_is_drawn_as_torch_registers_it():
    class Symmetric(nn.Module):
        def forward(self, x):
            return x.triu() + x.triu(1).T

    layer = parametrize.register_parametrization(nn.Linear(4, 4), "weight", Symmetric())
    initialise.random_(layer, 3)
    drawn = initialise.random_(nn.Linear(4, 4), 3).weight
    torch.testing.assert_close(layer.weight, drawn.triu() + drawn.triu(1).T)
    assert math.isfinite(float(layer.weight.sum()))
