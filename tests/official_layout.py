"""Archives in the layout of the official ones, made from the compact files of images.

The official archives are public, but not on every machine that tests. The tests build their like:
the images of the pool in another order, among others that are not in it. To build the whole book
from such archives, in place of the two compact files of CIFAR:

    python tests/official_layout.py /tmp/official
    PYTHONPATH=/tmp/official/site EPSUTIL_DATA=/tmp/official/data make book

The archives have another SHA-256 than the official ones; the ``sitecustomize.py`` in
``/tmp/official/site``, which every Python process reads as it starts, names them.
"""

import dataclasses
import io
import os
import sys
import tarfile
from pathlib import Path

import numpy as np
import pooch

from epsutil import paths, sources

COMPACT = {
    "cifar10": "images/cifar10-train-10240.npz",
    "cifar100": "images/cifar100-train-10240.npz",
}
ARCHIVES = {
    "cifar10": "images/cifar-10-python.tar.gz",
    "cifar100": "images/cifar-100-python.tar.gz",
}
SITE = """\
from epsutil.sources import SOURCES, Source

SOURCES.update({{source.name: source for source in {sources!r}}})
"""


# Pickles of Python 2, which nothing writes today: spelt out by hand.


def py2_string(value):
    return b"T" + len(value).to_bytes(4, "little") + value  # BINSTRING


def py2_array(array):
    """Pickle a uint8 matrix as NumPy under Python 2 did."""
    rows, columns = array.shape
    empty = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00t" + b"U\x01btR"
    minus_one = b"J\xff\xff\xff\xff"
    dtype = b"cnumpy\ndtype\n(U\x02u1K\x00K\x01tR(K\x03U\x01|NNN" + 2 * minus_one + b"K\x00tb"
    shape = b"(" + b"".join(b"J" + n.to_bytes(4, "little") for n in (rows, columns)) + b"t"
    return empty + b"(K\x01" + shape + dtype + b"I00\n" + py2_string(array.tobytes()) + b"tb"


def py2_batch(array, key, labels):
    items = b"".join(b"K" + bytes([label]) for label in labels)
    return (
        b"\x80\x02}("
        + (py2_string(b"data") + py2_array(array))
        + (py2_string(key) + b"](" + items + b"e")
        + b"u."
    )


def write(file, members):
    """Write an archive with members of some names and contents."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(file, "w:gz", compresslevel=1) as tar:
        for member, content in members.items():
            info = tarfile.TarInfo(member)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


def write_cifar(file, kind, images, labels):
    """Write images [N, 32, 32, 3] as the official archive of CIFAR-10 or CIFAR-100 has them."""
    data = images.transpose(0, 3, 1, 2).reshape(len(images), 3072)
    if kind == "cifar10":
        parts = zip(np.array_split(data, 5), np.array_split(labels, 5), strict=True)
        members = {
            f"cifar-10-batches-py/data_batch_{number}": py2_batch(rows, b"labels", some)
            for number, (rows, some) in enumerate(parts, start=1)
        }
    else:
        members = {"cifar-100-python/train": py2_batch(data, b"fine_labels", labels)}
    write(file, members)


def among_others(images, labels, n, n_classes, seed=0):
    """Hide the images of a pool among others: n images and labels in a random order.

    Some of the others are those of the pool: twice, and once more under another label.
    """
    rng = np.random.default_rng(seed)
    twins, decoys = rng.choice(len(images), (2, 100), replace=False)
    n_more = n - len(images) - len(twins) - len(decoys)
    some = rng.integers(len(images), size=n_more)
    others = images[some] ^ rng.integers(1, 256, (n_more, 1, 1, 1), dtype=np.uint8)
    images = np.concatenate([images, images[twins], images[decoys], others])
    more = [labels[twins], (labels[decoys] + 1) % n_classes, labels[some]]
    labels = np.concatenate([labels, *more])
    order = rng.permutation(n)
    return images[order], labels[order]


def named(name, file):
    """Return the source of this name, with the SHA-256 of a file instead of the official one."""
    sha256 = pooch.file_hash(str(file), alg="sha256")
    return dataclasses.replace(sources.SOURCES[name], sha256=sha256, size=file.stat().st_size)


def build(folder, kind, n=50_000):
    """Write an archive below a folder and return its source."""
    with np.load(sources.path(COMPACT[kind])) as arrays:
        images, labels, n_classes = arrays["images"], arrays["labels"], len(arrays["classes"])
    file = folder / ARCHIVES[kind]
    write_cifar(file, kind, *among_others(images, labels, n, n_classes))
    return named(ARCHIVES[kind], file)


def write_site(folder, given):
    """Write a folder for PYTHONPATH: every process then takes these sources for their namesakes."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(SITE.format(sources=given))


def main(folder):
    given = paths.data()
    if given is None:
        sys.exit("set EPSUTIL_DATA to the folder with the compact files")
    data, site = folder / "data", folder / "site"
    for file in filter(Path.is_file, given.rglob("*")):
        name = file.relative_to(given)
        if name.as_posix() not in COMPACT.values():
            (data / name).parent.mkdir(parents=True, exist_ok=True)
            os.symlink(file, data / name)
    made = [build(data, kind) for kind in ARCHIVES]
    write_site(site, made)
    print(f"PYTHONPATH={site} EPSUTIL_DATA={data} make book")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
