"""The official archives give the very images that the recorded results rest on."""

import functools
import io
import itertools
import re
import zipfile

import numpy as np
import official_layout
import pytest
from PIL import Image

from epsutil import image_files, inputs, paths, scoring, sources, store

COMPACT = official_layout.COMPACT | {"ImageNet16-120": "images/tinyimagenet16-train-10240.npz"}
ZIP = "images/tiny-imagenet-200.zip"
CIFAR = [
    pytest.param(kind, marks=pytest.mark.needs(name))
    for kind, name in official_layout.COMPACT.items()
]


def compact(kind):
    with np.load(sources.path(COMPACT[kind])) as arrays:
        return dict(arrays)


def listed(kind):
    return (image_files.CHECKSUMS / f"{kind}.txt").read_text("ascii").splitlines()


@pytest.fixture(autouse=True)
def forget():
    """Read every file anew: an archive of one test may have the path of another's."""
    image_files.read.cache_clear()
    yield
    image_files.read.cache_clear()


@pytest.fixture
def only(monkeypatch, tmp_path):
    """Let a file of some name be all that is at hand; call with its source and its folder."""

    def use(source, folder=tmp_path):
        monkeypatch.setitem(sources.SOURCES, source.name, source)
        monkeypatch.setenv("EPSUTIL_DATA", str(folder))
        monkeypatch.setenv("EPSUTIL_CACHE", str(tmp_path / "cache"))

    return use


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """Write the archive of a kind of images once; return its source and its folder."""

    @functools.cache
    def written(kind):
        folder = tmp_path_factory.mktemp(kind)
        return official_layout.build(folder, kind, n=10_800), folder

    return written


# The lists ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", COMPACT)
def test_a_list_names_every_image_once(kind):
    lines = listed(kind)
    pattern = r"[0-9a-f]{16}" + (r" n\d{8}_\d{1,3}" if kind == "ImageNet16-120" else "")
    assert all(re.fullmatch(pattern, line) for line in lines)
    assert len(lines) == 10_240
    for column in zip(*map(str.split, lines), strict=True):
        assert len(set(column)) == 10_240
    assert {path.stem for path in image_files.CHECKSUMS.iterdir()} == set(COMPACT)


@pytest.mark.parametrize(
    "kind", [pytest.param(k, marks=pytest.mark.needs(COMPACT[k])) for k in COMPACT]
)
def test_a_list_is_that_of_the_compact_file(kind):
    arrays = compact(kind)
    expected = image_files.checksums(arrays["images"], arrays["labels"])
    if kind == "ImageNet16-120":
        names = [name.removesuffix(".JPEG") for name in arrays["files"]]
        assert [arrays["classes"][i] for i in arrays["labels"]] == [n[:9] for n in names]
        expected = [" ".join(pair) for pair in zip(expected, names, strict=True)]
    assert listed(kind) == expected
    assert arrays["classes"].tolist() == sorted(arrays["classes"])  # as the archives number them
    assert len(set(arrays["labels"])) == len(arrays["classes"]) == inputs.classes(kind)


def test_a_checksum_tells_pixels_and_labels_apart():
    images = np.zeros((3, 2, 2, 3), np.uint8)
    images[1, 0, 0, 0] = 1
    assert (
        len({*image_files.checksums(images, [0, 0, 1]), *image_files.checksums(images, [1, 1, 1])})
        == 4
    )


# CIFAR ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", CIFAR)
def test_an_official_archive_gives_the_same_batches(kind, only, archive):
    cases = [(256, 21), (256, 0), (64, 42), (3000, 42), (1, 5), (10_240, 7)]
    before = [inputs.batch(kind, *case) for case in cases]
    arrays = compact(kind)
    only(*archive(kind))

    assert inputs.needs(kind) == (official_layout.ARCHIVES[kind],)
    pool = image_files.read(kind, sources.path(*inputs.needs(kind)))
    np.testing.assert_array_equal(pool.images, arrays["images"])
    np.testing.assert_array_equal(pool.labels, arrays["labels"])
    for case, expected in zip(cases, before, strict=True):
        batch = inputs.batch(kind, *case)
        assert batch.checksum == expected.checksum
        np.testing.assert_array_equal(batch.labels, expected.labels)
        assert official_layout.ARCHIVES[kind] in batch.source and "as in" not in batch.source
    with pytest.raises(ValueError, match="batch_size is 10241; .*only 10240 images, whichever"):
        inputs.batch(kind, 10_241)


@pytest.mark.slow
@pytest.mark.parametrize("kind", CIFAR)
def test_every_recorded_store_holds_with_an_official_archive(kind, only, archive):
    only(*archive(kind))
    found = 0
    for path in paths.RECORDED_SCORES.glob(f"*-{kind}-*"):
        run = store.read(path).attrs["run"]
        if run["group"] == "epsilon":
            batch = inputs.batch(kind, run["batch_size"], run["input_seed"])
        else:
            batch = scoring.group_batch(run["space"], kind, run["group"], run["seed"])
        assert batch.checksum == run["input_checksum"], path.name
        found += 1
    assert found >= 20


@pytest.mark.needs(COMPACT["cifar10"])
def test_scores_are_found_with_an_official_archive(only, archive, monkeypatch):
    only(*archive("cifar10"))
    monkeypatch.setattr(scoring, "_fitting", lambda *_: pytest.fail("computed"))
    batch = inputs.batch("cifar10")
    for space, weights, size in (
        ("nasbench201", (1e-7, 1), 15_625),
        ("nasbench101", (1e-4, 10), 423_624),
    ):
        assert len(scoring.score(space, batch, weights)) == size
    draws = scoring.score_group("nasbench201", "cifar10", "draws", 0)
    gradients = scoring.score_group("nasbench101", "cifar10", "gradients", 0)
    assert len(draws) >= 1000 and len(gradients) >= 100


@pytest.mark.needs(COMPACT["cifar100"])
@pytest.mark.parametrize("fault", ["pixel", "label"])
def test_an_image_that_is_not_there_is_an_error(fault, only, tmp_path):
    arrays = compact("cifar100")
    images, labels = arrays["images"], arrays["labels"]
    if fault == "pixel":
        images[[3, 77], 0, 0, 0] ^= 1
    else:
        labels[[3, 77]] = (labels[[3, 77]] + 1) % 100
    name = official_layout.ARCHIVES["cifar100"]
    official_layout.write_cifar(tmp_path / name, "cifar100", images, labels)
    only(official_layout.named(name, tmp_path / name))
    with pytest.raises(sources.SourceError, match="lacks 2 of the 10,240 images of cifar100"):
        inputs.batch("cifar100")


# Tiny-ImageNet: its archive is not here, so one in its layout with made-up images ---------------

NAMES = [f"{wnid}_{number}" for wnid in ("n02000000", "n01000000") for number in (7, 123)]
LABELS = [1, 1, 0, 0]  # the classes in alphabetical order


def box(images):
    """Pillow's box filter: the mean along one axis, rounded, then along the other."""
    along = (images.reshape(-1, 64, 16, 4, 3).sum(3, dtype=int) + 2) // 4
    return ((along.reshape(-1, 16, 4, 16, 3).sum(2) + 2) // 4).astype(np.uint8)


def rounded(images):
    return ((images.reshape(-1, 16, 4, 16, 4, 3).sum((2, 4), dtype=int) + 8) // 16).astype(np.uint8)


def truncated(images):
    return (images.reshape(-1, 16, 4, 16, 4, 3).sum((2, 4), dtype=int) // 16).astype(np.uint8)


@pytest.fixture
def tiny(only, tmp_path, monkeypatch):
    """Write an archive of four images, and the list of the pool that some way of shrinking gives.

    Returns the pool's images.
    """

    def write(shrink, altered=0, left_out=0):
        rng = np.random.default_rng(0)
        decoded = []
        file = tmp_path / ZIP
        file.parent.mkdir()
        with zipfile.ZipFile(file, "w") as archive:
            for number, name in enumerate(NAMES):
                stream = io.BytesIO()
                image = Image.fromarray(rng.integers(0, 256, (64, 64, 3), np.uint8))
                image = image.convert("L") if number == 2 else image  # some are grey
                image.save(stream, "JPEG")
                decoded.append(np.asarray(Image.open(stream).convert("RGB")))
                member = f"tiny-imagenet-200/train/{name[:9]}/images/{name}.JPEG"
                if number >= left_out:
                    archive.writestr(member, stream.getvalue())
        expected = shrink(np.stack(decoded))
        kept = expected.copy()
        kept[:altered] ^= 1
        checksums = image_files.checksums(kept, LABELS)
        lines = [" ".join(pair) for pair in zip(checksums, NAMES, strict=True)]
        (tmp_path / "ImageNet16-120.txt").write_text("\n".join(lines) + "\n")
        monkeypatch.setattr(image_files, "CHECKSUMS", tmp_path)
        only(official_layout.named(ZIP, file))
        return expected

    return write


@pytest.mark.parametrize("shrink", [box, rounded, truncated])
def test_tiny_imagenet_is_shrunk_as_the_checksums_want(tiny, shrink):
    expected = tiny(shrink)
    pool = image_files.read("ImageNet16-120", sources.path(ZIP))
    np.testing.assert_array_equal(pool.images, expected)
    assert pool.labels.tolist() == LABELS and pool.n_equal == 4
    batch = inputs.batch("ImageNet16-120", 4)
    assert batch.source.endswith(f"4 of 4 training images in {ZIP}")
    assert "stand-in" in batch.source and batch.x.shape == (4, 3, 16, 16)


def test_images_that_were_decoded_otherwise_are_counted(tiny):
    expected = tiny(box, altered=1)
    assert image_files.read("ImageNet16-120", sources.path(ZIP)).n_equal == 3
    np.testing.assert_array_equal(
        image_files.read("ImageNet16-120", sources.path(ZIP)).images, expected
    )
    assert inputs.batch("ImageNet16-120", 2).source.endswith("(only 3 as in the recorded results)")


def test_an_archive_of_tiny_imagenet_without_an_image(tiny):
    tiny(box, left_out=1)
    with pytest.raises(sources.SourceError, match="lacks 1 of the 4 images of ImageNet16-120"):
        inputs.batch("ImageNet16-120", 2)


def test_the_ways_of_shrinking_differ():
    images = np.random.default_rng(1).integers(0, 256, (1, 64, 64, 3), np.uint8)
    for one, other in itertools.combinations((box, rounded, truncated), 2):
        assert (one(images) != other(images)).any()
