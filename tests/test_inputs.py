import pickle

import numpy as np
import official_layout
import pytest

from epsutil import image_files, inputs, sources

REAL = {
    "cifar10": "images/cifar10-train-10240.npz",
    "cifar100": "images/cifar100-train-10240.npz",
    "ImageNet16-120": "images/tinyimagenet16-train-10240.npz",
}
SYNTHETIC = ("grey", "normal", "uniform", "uniform_positive")
PTB = ("ptb/ptb.train.txt", "ptb/ptb.valid.txt", "ptb/ptb.test.txt")
real = [pytest.param(k, marks=pytest.mark.needs(name)) for k, name in REAL.items()]


@pytest.mark.parametrize("kind", [*real, *SYNTHETIC])
def test_deterministic_by_seed(kind):
    first, again = inputs.batch(kind, 16), inputs.batch(kind, 16)
    other = inputs.batch(kind, 16, seed=22)
    size = 16 if kind == "ImageNet16-120" else 32
    assert first.x.dtype == np.float32 and first.x.shape == (16, 3, size, size)
    assert first.x.flags.c_contiguous
    assert np.isfinite(first.x).all()
    assert first.checksum == again.checksum and len(first.checksum) == 64
    assert (first.checksum == other.checksum) == (kind == "grey")


def test_grey_is_the_paper_s():
    x = inputs.batch("grey", 8).x
    for i in range(8):
        assert (x[i] == np.float32(i / 8)).all()


def test_random_kinds_are_raw():
    normal = inputs.batch("normal", 64).x
    assert abs(normal.mean()) < 0.01 and abs(normal.std() - 1) < 0.01
    uniform = inputs.batch("uniform", 64).x
    assert -1 <= uniform.min() < -0.99 and 0.99 < uniform.max() <= 1
    positive = inputs.batch("uniform_positive", 64).x
    assert 0 <= positive.min() < 0.01 and 0.99 < positive.max() <= 1


@pytest.mark.parametrize("kind", SYNTHETIC)
def test_synthetic_needs_nothing_and_takes_any_size(kind):
    batch = inputs.batch(kind, 2, image_size=7)
    assert batch.x.shape == (2, 3, 7, 7) and batch.labels is None
    assert inputs.needs(kind) == ()
    assert batch.source.startswith("synthetic")


def test_checksum_covers_the_shape():
    x = np.zeros((1, 3, 2, 8), dtype=np.float32)
    batches = [inputs.Batch(a, None, "grey", 0, "") for a in (x, x.reshape(1, 3, 4, 4))]
    assert batches[0].checksum != batches[1].checksum


@pytest.mark.parametrize("kind", real)
def test_real_images_undo_to_those_of_the_file(kind):
    batch = inputs.batch(kind, 64)
    mean, std = (np.array(v)[:, None, None] for v in inputs._REAL[kind][-2:])
    with np.load(sources.path(REAL[kind])) as arrays:
        images = [image.tobytes() for image in arrays["images"].transpose(0, 3, 1, 2)]
        found = dict(zip(images, arrays["labels"], strict=True))
    drawn = np.rint(batch.x * std + mean).astype(np.uint8)
    assert [found[image.tobytes()] for image in drawn] == batch.labels.tolist()
    assert len({image.tobytes() for image in drawn}) == 64  # without replacement
    assert batch.labels.dtype == np.int64
    assert REAL[kind] in batch.source and "10,240" in batch.source


@pytest.mark.parametrize("kind", real)
def test_real_images_are_normalised(kind):
    x = inputs.batch(kind, 2048).x
    np.testing.assert_allclose(x.mean((0, 2, 3)), 0, atol=0.05)
    np.testing.assert_allclose(x.std((0, 2, 3)), 1, atol=0.05)


@pytest.mark.needs(REAL["ImageNet16-120"])
def test_stand_in_is_named_as_such():
    assert "stand-in for ImageNet16-120" in inputs.batch("ImageNet16-120", 1).source


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"kind": "cifar"}, "'cifar'.*cifar10, cifar100, ImageNet16-120, grey"),
        ({"kind": "grey", "batch_size": 0}, "batch_size is 0"),
        ({"kind": "grey", "seed": -1}, "seed is -1"),
        ({"kind": "grey", "image_size": 0}, "image_size is 0"),
        ({"kind": "cifar10", "image_size": 16}, "image_size is 16; cifar10 images have 32"),
        ({"kind": "ImageNet16-120", "image_size": 32}, "have 16"),
        (
            {"kind": "random_tokens", "image_size": 32},
            "image_size is 32; random_tokens holds tokens",
        ),
    ],
)
def test_bad_argument_is_named(arguments, text):
    with pytest.raises(ValueError, match=text):
        inputs.batch(**arguments)


@pytest.mark.needs(REAL["cifar10"])
def test_batch_may_be_the_whole_pool_but_no_more():
    assert len(inputs.batch("cifar10", 10_240).x) == 10_240
    with pytest.raises(ValueError, match="10241; .*only 10240 images"):
        inputs.batch("cifar10", 10_241)


# Tokens --------------------------------------------------------------------------------------


@pytest.mark.needs(*PTB)
def test_ptb_is_numbered_as_in_the_benchmark():
    text = inputs._ptb()
    words = [line.split() + ["<eos>"] for line in sources.path(PTB[0]).read_text().splitlines()]
    words = [word for line in words for word in line]
    assert len(text) == len(words) == 929_589  # the corpus' known size
    assert text[:26].tolist() == [*range(24), 24, 25]  # the first line's words all differ
    assert len(set(zip(words, text.tolist(), strict=True))) == len(set(words)) == text.max() + 1
    first = {}
    for word in words:
        first.setdefault(word, len(first))
    assert text.tolist() == [first[word] for word in words]


@pytest.mark.needs(*PTB)
def test_ptb_batch_is_the_start_of_every_column():
    batch = inputs.batch("ptb")
    text = inputs._ptb()
    length = len(text) // 256
    assert batch.x.shape == (70, 256) and batch.x.dtype == np.int64 and batch.size == 256
    for column in (0, 1, 255):
        start = column * length
        np.testing.assert_array_equal(batch.x[:, column], text[start : start + 70])
    assert batch.checksum == inputs.batch("ptb", seed=5).checksum
    assert inputs.needs("ptb") == PTB


@pytest.mark.needs(*PTB)
def test_ptb_has_no_more_columns_than_text():
    """929,589 words and ends of lines, and each column takes the token that follows its 70, too."""
    assert 929_589 // 71 == 13_092
    assert inputs.batch("ptb", 13_092).x.shape == (70, 13_092)
    with pytest.raises(ValueError, match="batch_size is 13093; .* 929,589 tokens.* 13,092 columns"):
        inputs.batch("ptb", 13_093)


def test_random_tokens_need_nothing():
    batch, other = inputs.batch("random_tokens", 64), inputs.batch("random_tokens", 64, seed=22)
    assert batch.x.shape == (70, 64) and batch.x.dtype == np.int64 and batch.size == 64
    assert 0 <= batch.x.min() < 50 and 9_950 < batch.x.max() < 10_000
    assert batch.checksum == inputs.batch("random_tokens", 64).checksum != other.checksum
    assert inputs.needs("random_tokens") == ()


def test_every_kind_belongs_to_one_sort_of_space():
    assert inputs.kinds("nasbench_nlp")[0] == "ptb" and inputs.kinds("nasbench101")[0] == "cifar10"
    assert {*inputs.kinds("nasbench_nlp"), *inputs.kinds("nasbench201")} == set(inputs.KINDS)


def test_unknown_kind():
    with pytest.raises(ValueError, match="unknown kind"):
        inputs.needs("mnist")


@pytest.mark.parametrize("kind", ["cifar10", "cifar100"])
def test_official_archive(kind, monkeypatch, tmp_path):
    """Made-up images in the official layout, all of them in a made-up pool, in another order."""
    images = np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3), dtype=np.uint8)
    order = np.random.default_rng(1).permutation(20)
    (tmp_path / f"{kind}.txt").write_text("\n".join(image_files.checksums(images[order], order)))
    monkeypatch.setattr(image_files, "CHECKSUMS", tmp_path)
    name = official_layout.ARCHIVES[kind]
    official_layout.write_cifar(tmp_path / name, kind, images, np.arange(20))  # label: position
    use(name, monkeypatch, tmp_path)

    batch = inputs.batch(kind, 20)
    assert inputs.needs(kind) == (name,)
    mean, std = (np.array(v)[:, None, None] for v in inputs._REAL[kind][-2:])
    drawn = np.rint(batch.x * std + mean).astype(np.uint8).transpose(0, 2, 3, 1)
    np.testing.assert_array_equal(drawn, images[batch.labels])
    assert sorted(batch.labels) == list(range(20))
    chosen = np.random.default_rng(21).choice(20, 20, replace=False)
    assert batch.labels.tolist() == order[chosen].tolist()  # drawn from the pool's order


def use(name, monkeypatch, tmp_path):
    """Let an archive in the official layout be all that is at hand."""
    monkeypatch.setitem(sources.SOURCES, name, official_layout.named(name, tmp_path / name))
    monkeypatch.setenv("EPSUTIL_DATA", str(tmp_path))
    monkeypatch.setenv("EPSUTIL_CACHE", str(tmp_path / "cache"))


def test_archive_with_a_hostile_pickle(monkeypatch, tmp_path):
    name = official_layout.ARCHIVES["cifar100"]
    official_layout.write(tmp_path / name, {"cifar-100-python/train": pickle.dumps(print)})
    use(name, monkeypatch, tmp_path)
    with pytest.raises(sources.SourceError, match="print"):
        inputs.batch("cifar100", 1)
