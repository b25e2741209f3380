"""Networks that set their own precision, keep tensors, hooks and generators, override methods.

Whatever they do, their scores are those of a plain twin, or one line says why there is none.
"""

import copy

import pytest
import torch
from test_zoo import (  # noqa: F401  a fixture
    EACH,
    LINEAR,
    OUT,
    UNDRAWN,
    _few_initialisations,
    batch,
    each,
    made,
    own,
    same,
)
from torch import nn
from torch.utils.checkpoint import checkpoint

from epsutil import metric, network_copy, proxies

DATA = batch("vectors")


def two(between):
    """Return a maker of an MLP with something between its layers."""
    return own(between, a=LINEAR, relu=nn.ReLU, b=OUT)


def twin(self, x):
    return self.b(self.relu(self.a(x)))


def scores(forward, prepare=lambda network: None, **options):
    """Return what each metric gives, once the network was prepared."""
    network = made("", make=two(forward))
    prepare(network)
    return each(network, DATA, EACH, **options)


def autocast(self, x):
    with torch.autocast("cpu", torch.bfloat16):
        hidden = self.relu(self.a(x))
    return self.b(hidden.float())


def enabled_by_hand(self, x):
    torch.set_autocast_enabled("cpu", True)
    return twin(self, x)


def whole_modules(self, x):
    hidden = self.half().relu(self.a(x.half()))
    return self.float().b(hidden.float())


@torch.autocast("cpu", torch.bfloat16)
def decorated(self, x):
    return twin(self, x)


class Halved(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.half()

    @staticmethod
    def backward(ctx, gradient):
        return gradient


PRECISIONS = {
    "autocast": autocast,
    "autocast as a decorator": decorated,
    "autocast by hand": enabled_by_hand,
    "half": lambda self, x: self.b(self.relu(self.a(x)).half().float()),
    "bfloat16": lambda self, x: self.b(self.relu(self.a(x)).bfloat16().to(x)),
    "to": lambda self, x: self.b(self.relu(self.a(x)).to(torch.float16).to("cpu", torch.float32)),
    "to another": lambda self, x: self.b(self.relu(self.a(x)).to(torch.ones(1).half()).type_as(x)),
    "type": lambda self, x: self.b(self.relu(self.a(x)).type("torch.HalfTensor").type(x.type())),
    "of a sum": lambda self, x: self.b(self.relu(self.a(x)) + 0 * x.sum(dtype=torch.float16)),
    "made": lambda self, x: self.b(self.relu(self.a(x)) + torch.zeros(8, dtype=torch.float32)),
    "double": lambda self, x: self.b(self.relu(self.a(x)).double().float()),
    "whole modules": whole_modules,
    "a function": lambda self, x: self.b(Halved.apply(self.relu(self.a(x)))),
}  # fmt: skip


@pytest.mark.parametrize("name", PRECISIONS)
def test_a_forward_that_names_a_precision_is_computed_in_that_of_the_metric(name):
    """Also in synflow's float64, and for a float64 network."""
    same(scores(PRECISIONS[name]), scores(twin), rel=1e-6)
    assert torch.get_default_dtype() == torch.float32 and not torch.is_autocast_enabled("cpu")
    x, weights = DATA[0].double(), (1e-3, 2.0)
    values = [metric.epsilon(two(f)().double(), x + 1, weights) for f in (PRECISIONS[name], twin)]
    assert values[0] == pytest.approx(values[1], rel=1e-12, abs=1e-15)


def test_epsilon_where_half_of_the_network_is_under_autocast():
    """By values that bfloat16 would round: epsilon is far from that of half of each."""
    x, weights = torch.linspace(0, 3, 30).reshape(6, 5), (0.05, 1.0)
    squashed = [
        lambda self, x, f=f: self.b(f(self, x)).sigmoid()
        for f in (lambda self, x: self.a(x).sigmoid(), lambda self, x: self.a(x).sigmoid().half())
    ]
    values = [metric.epsilon(two(f)(), x, weights) for f in squashed]
    assert values[0] == values[1] > 0.01


@pytest.mark.parametrize("reentrant", [True, False])
@pytest.mark.filterwarnings("ignore")
def test_checkpointed_blocks_have_the_plain_blocks_scores(reentrant):
    def forward(self, x):
        return self.b(checkpoint(lambda h: self.relu(self.a(h)), x, use_reentrant=reentrant))

    same(scores(forward), scores(twin))
    x = torch.ones(1, requires_grad=True)  # torch's own afterwards
    node = checkpoint(torch.exp, x, use_reentrant=True).grad_fn
    assert "CheckpointFunction" in type(node).__name__


# Hooks --------------------------------------------------------------------------------------

SEEN, COUNT = [], 0


def note(output):
    SEEN.append(output)


def by_globals(module, x, output):
    global COUNT
    COUNT += 1
    note(output)


class Recorder:
    def __init__(self):
        self.seen = []

    def keep(self, module, x, output):
        self.seen.append(output)

    def __call__(self, module, x, output):
        self.seen.append(output)


def test_hooks_write_into_copies_of_what_they_hold():
    """The twin: the same network without hooks."""
    inside, recorder, own_network = [], Recorder(), []

    def hook(network):
        own_network.append(network)
        layer = network.a
        layer.register_forward_hook(by_globals)
        layer.register_forward_hook(lambda m, x, y: inside.append(y))
        layer.register_forward_hook(lambda m, x, y, kept=inside: kept.append(y))
        layer.register_forward_hook(recorder.keep)
        layer.register_forward_hook(recorder)
        layer.register_forward_pre_hook(lambda m, x: setattr(network, "given", x))

    same(scores(twin, hook), scores(twin))
    assert SEEN == inside == recorder.seen == [] and COUNT == 0
    assert not hasattr(own_network[0], "given")
    own_network[0](DATA[0])  # they still do what they did
    assert (len(SEEN), len(inside), len(recorder.seen), COUNT) == (1, 2, 2, 1)


def test_a_hook_that_replaces_belongs_to_the_network():
    def hook(network):
        gain = [2.0]
        network.a.register_forward_hook(lambda m, x, y: y * gain[0])

    same(scores(twin, hook), scores(lambda self, x: self.b(self.relu(self.a(x) * 2))))


@pytest.mark.parametrize("detached", [True, False])
def test_what_a_hook_kept_of_an_earlier_batch_is_not_read(detached):
    """Closures, like attributes, then name the copy, whose hook keeps what this batch gives."""

    def forward(self, x):
        self.a(x)
        return self.b(self.relu(self.kept))

    def hook(network):
        def keep(module, x, output):
            network.kept = output.detach() if detached else output

        network.a.register_forward_hook(keep)
        network(torch.randn(7, 5))

    def expected(self, x):
        return self.b(self.relu(self.a(x).detach() if detached else self.a(x)))

    same(scores(forward, hook), scores(expected))


def test_a_hook_that_cannot_be_copied_is_refused(tmp_path):
    with open(tmp_path / "log", "w") as file:
        network = two(twin)()
        network.a.register_forward_hook(lambda m, x, y: print(y, file=file))
        with pytest.raises(ValueError, match="Own cannot be copied, .*TextIOWrapper"):
            metric.epsilon(network, DATA[0])
    assert not (tmp_path / "log").read_text()


def test_hooks_on_all_modules_are_not_called():
    calls = []
    expected = scores(twin)
    ways = nn.modules.module
    register = (ways.register_module_forward_hook, ways.register_module_full_backward_hook)
    handles = [way(lambda *call: calls.append(call)) for way in register]
    try:
        same(scores(twin), expected)
        assert not calls
        two(twin)()(DATA[0]).sum().backward()
        assert len(calls) > 4
    finally:
        for handle in handles:
            handle.remove()


# Tensors that nothing sets ------------------------------------------------------------------


def scaled(self, x):
    return self.b(self.relu(self.a(x)) * (self.by[0] if isinstance(self.by, list) else self.by))


GIVEN = nn.Parameter(torch.full((8,), 0.5))


@pytest.mark.parametrize(
    "value",
    [
        lambda: GIVEN * 2,
        lambda: [GIVEN * 2],
        lambda: GIVEN.to(torch.float64),
        lambda: torch.rand(8, requires_grad=True),
        lambda: nn.Buffer(GIVEN * 2),
    ],
)
def test_a_tensor_computed_from_parameters_is_refused_by_name(value):
    network = own(scaled, a=LINEAR, relu=nn.ReLU, b=OUT, by=value)()
    for name, told in each(network, DATA, ["params", "epsilon", "snip"]).items():
        assert "by is no parameter, but was computed from some" in told and "\n" not in told, name
    with pytest.raises(ValueError, match="by is no parameter"):
        metric.epsilon(network, DATA[0])


def test_a_product_in_a_closure_is_refused():
    product = GIVEN * 2
    told = scores(lambda self, x: self.b(self.relu(self.a(x)) * product))
    assert all("a parameter of shape (8,) is not registered" in text for text in told.values())


def test_constants_are_kept_as_they_are_and_named():
    for value in (lambda: torch.full((8,), 2.0), lambda: nn.Buffer(torch.full((8,), 2.0))):
        network = made("", make=own(scaled, a=LINEAR, relu=nn.ReLU, b=OUT, by=value))
        assert network_copy.kept(network) == ["by"]
        same(each(network, DATA, EACH), scores(lambda self, x: self.b(self.relu(self.a(x)) * 2)))
    norm = nn.Sequential(nn.BatchNorm1d(3), nn.InstanceNorm1d(3, track_running_stats=True))
    norm[0].register_buffer("index", torch.arange(3))
    assert network_copy.kept(norm) == []


def test_a_generator_of_ones_own_draws_the_same_in_every_pass():
    """The twin: a constant that was drawn by the same seed, in the precision of the metric."""

    def forward(self, x):
        noise = torch.rand(8, generator=self.draws, dtype=x.dtype)
        return self.b(self.relu(self.a(x)) + noise)

    outside = torch.Generator().manual_seed(3)
    before = outside.get_state()

    def closed(self, x):
        return self.b(self.relu(self.a(x)) + torch.rand(8, generator=outside, dtype=x.dtype))

    def fixed(self, x):
        draws = torch.Generator().manual_seed(3)
        return self.b(self.relu(self.a(x)) + torch.rand(8, generator=draws, dtype=x.dtype))

    held = scores(forward, lambda n: setattr(n, "draws", torch.Generator().manual_seed(3)))
    same(held, scores(fixed), rel=1e-6)
    same(scores(closed), held)
    assert torch.equal(outside.get_state(), before)


@pytest.mark.filterwarnings("ignore")
def test_complex_and_quantised_weights_are_refused_by_name():
    quantised = torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.Linear(5, 4)))
    packed = nn.Linear(5, 4)
    packed.weight = nn.Parameter(torch.ones(4, 5, dtype=torch.int8), requires_grad=False)
    for network, message in [
        (
            nn.Linear(5, 4, bias=False, dtype=torch.complex64),
            "Linear has weight of torch.complex64",
        ),
        (quantised, "Sequential cannot be scored: Linear has no weights, being quantised"),
        (packed, "Linear has weight of torch.int8"),
    ]:
        for told in each(network, DATA, ["params", "epsilon", "snip"]).values():
            assert message in told and "\n" not in told
        with pytest.raises(ValueError, match=message):
            metric.epsilon(network, DATA[0])


# Methods that a module overrides ------------------------------------------------------------


class Overriding(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.relu, self.b = LINEAR(), nn.ReLU(), OUT()

    forward = twin
    inplace = property(lambda self: True)

    def no(self, *_, **__):
        raise RuntimeError("not\nhere")

    train = eval = apply = double = float = half = to = requires_grad_ = zero_grad = no


class Unhashable(Overriding):
    def __eq__(self, other):
        return True


class Alike(nn.Linear):
    def __eq__(self, other):
        return True

    def __hash__(self):
        return 1


class Equal(Alike):
    __hash__ = nn.Module.__hash__


def test_overridden_methods_are_not_called():
    same(each(made("", make=Overriding), DATA, EACH), scores(twin))
    equal = made("", make=lambda: nn.Sequential(Equal(5, 8), nn.ReLU(), Equal(8, 4)))
    same(each(equal, DATA, EACH), scores(twin))


def test_modules_that_torch_takes_for_one_are_refused():
    for network, message in [
        (Unhashable(), "torch cannot list the modules of Unhashable: .* unhashable"),
        (nn.Sequential(Alike(5, 8), nn.ReLU(), Alike(8, 4)), "that torch takes for one"),
    ]:
        with pytest.raises(ValueError, match=message):
            metric.epsilon(network, DATA[0])


class Resets(nn.Linear):
    """Its method fails once it is made, or needs an argument."""

    def reset_parameters(self, scale=None):
        if hasattr(self, "made"):
            raise RuntimeError("two\nlines")
        super().reset_parameters()


def test_a_failing_reset_parameters_is_one_line_where_a_draw_counts():
    network = Resets(5, 4)
    network.made = True
    told = each(network, DATA, ["params", "flops", "epsilon", "snip", "cv"])
    plain = each(nn.Linear(5, 4), DATA, UNDRAWN)
    same({name: told[name] for name in UNDRAWN}, plain)
    line = "reset_parameters() of Resets fails: two lines"
    assert told["snip"].endswith(f"{line}, or score the weights as they are "
                                 "(seed=None; epsutil score --seed none)")  # fmt: skip
    assert told["cv"].endswith(line)  # which draws by definition
    same(each(network, DATA, ["snip"], seed=None), each(copy.deepcopy(network), DATA, ["snip"],
                                                        seed=None))  # fmt: skip
    assert isinstance(each(network, DATA, ["snip"], seed=None)["snip"], float)


def test_an_attribute_named_recurrent_makes_nothing_recurrent():
    """Only ``recurrent = True`` does; biases of the other layers are 0."""
    network = two(twin)()
    network.recurrent = nn.GRU(2, 2)
    x = DATA[0]
    expected = metric.outputs(two(twin)(), x, [0.5])
    assert (metric.outputs(network, x, [0.5]) == expected).all()


# Draws, and values --------------------------------------------------------------------------


def positioned(self, x):
    return self.b(self.relu(self.a(x) + self.position).sigmoid())


def test_size_and_epsilon_of_a_network_with_a_drawn_position():
    """By hand: the position, too, is the constant."""
    position = lambda: nn.Parameter(torch.empty(8).normal_())  # noqa: E731
    network = own(positioned, a=LINEAR, relu=nn.ReLU, b=OUT, position=position)()
    values = proxies.compute(network, DATA, ["params", "flops", "epsilon"], weights=(0.1, 1.0))
    assert (values["params"], values["flops"]) == (5 * 8 + 8 + 8 + 8 * 4 + 4, 5 * 8 + 8 * 4)
    rows = [
        (8 * w * (w * DATA[0].sum(1) + w).relu().sigmoid())[:, None].expand(-1, 4)
        for w in (0.1, 1.0)
    ]
    expected = metric.from_outputs(torch.stack(rows).flatten(1).numpy())
    assert values["epsilon"] == pytest.approx(expected, rel=1e-4)
    fix = r"add one, or score the weights as they are \(seed=None; epsutil score --seed none\)$"
    with pytest.raises(ValueError, match=f"draws position of Own, of shape .*: {fix}"):
        proxies.compute(network, DATA, ["params", "snip"])
    with pytest.raises(ValueError, match="draws position of Own, of shape .*: add one$"):
        proxies.compute(network, DATA, ["cv"], seed=None)
    assert proxies.compute(network, DATA, ["snip"], seed=None)["snip"] > 0


def test_on_the_meta_device_there_are_params_and_flops():
    with torch.device("meta"):
        network = two(twin)()
    expected = {"params": 5 * 8 + 8 + 8 * 4 + 4, "flops": 5 * 8 + 8 * 4}
    assert proxies.compute(network, DATA, ["params", "flops"]) == expected
    for names in (["epsilon"], ["params", "snip"]):
        with pytest.raises(ValueError, match="no values on the meta device, where only params and"):
            proxies.compute(network, DATA, names)
    with pytest.raises(ValueError, match="no values on the meta device"):
        metric.epsilon(network, DATA[0])
