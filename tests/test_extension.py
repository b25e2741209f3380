"""Captions are lettered on each page."""

from types import SimpleNamespace

import pytest

from epsutil.book import extension


@pytest.mark.parametrize(
    ("number", "name"), [(1, "A"), (26, "Z"), (27, "AA"), (52, "AZ"), (53, "BA"), (703, "AAA")]
)
def test_letters_go_on_after_z(number, name):
    assert extension.letters(number) == name


def test_every_page_begins_anew():
    env = SimpleNamespace(
        toc_fignumbers={
            "one": {
                "table": {"a": (1,), "b": (2,)},
                "figure": {"c": (1,)},
                "algorithm": {"e": (1,)},
            },
            "two": {"table": {"d": (3,)}},
        }
    )
    assert extension.letter(None, env) == ["one", "two"]
    assert env.toc_fignumbers == {
        "one": {
            "table": {"a": ("A",), "b": ("B",)},
            "figure": {"c": ("A",)},
            "algorithm": {"e": (1,)},
        },
        "two": {"table": {"d": ("A",)}},
    }
