"""The pages of the Python interface: each function has an example, and it runs."""

import doctest
import importlib
import inspect
import re

import pytest

from epsutil import benchmarks, paths, sources

PAGES = {file.stem: file.read_text("utf-8") for file in (paths.BOOK / "api").glob("*.md")}
FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
NEEDS = {  # no grey image stands in for these
    "epsutil.benchmarks.trained": benchmarks.needs("cifar10"),
    "epsutil.benchmarks.test_runs": (benchmarks.TEST_RUNS["cifar10"],),
}
ELSEWHERE = {"epsutil.book.page.Page"}  # an executed recipe: tests/test_contributing.py


def listed():
    """Return what the pages document, functions and classes, by their full names."""
    found, module = [], ""
    for text in PAGES.values():
        for kind, name in re.findall(r"^\.\. (currentmodule|auto\w+):: (\S+)$", text, re.MULTILINE):
            if kind == "currentmodule":
                module = name
            elif kind in ("autofunction", "autoclass"):
                found.append(f"{module}.{name}")
    return sorted(found)


def examples_of(name):
    module, _, attribute = name.rpartition(".")
    thing = getattr(importlib.import_module(module), attribute)
    home = importlib.import_module(thing.__module__)
    assert "Examples\n--------\n" in inspect.getdoc(thing), f"{name} has no section Examples"
    finder = doctest.DocTestFinder(recurse=False, exclude_empty=False)
    (test,) = finder.find(thing, name, home, globs=dict(vars(home)))
    return thing, test


def public_members(thing):
    return [k for k in vars(thing) if not k.startswith("_") and callable(getattr(thing, k))]


def test_the_overview_lists_what_the_pages_document():
    overview = re.findall(r"^   (\w+\.[\w.]+)$", PAGES["index"], re.MULTILINE)
    assert sorted(f"epsutil.{name}" for name in overview) == listed()


@pytest.mark.parametrize("name", listed())
def test_the_overview_can_follow_what_a_first_line_refers_to(name):
    module, _, attribute = name.rpartition(".")
    text = inspect.getdoc(getattr(importlib.import_module(module), attribute))
    first = text.partition("\n\n")[0]  # also shown where no module is the current one
    targets = re.findall(r":\w+:`~?([^`]+)`", first)
    assert all(target.startswith("epsutil.") for target in targets)


@pytest.mark.parametrize("name", [name for name in listed() if name not in ELSEWHERE])
def test_an_example_runs(name):
    _, test = examples_of(name)
    assert test.examples and not any("SKIP" in example.source for example in test.examples)
    if name in NEEDS and not sources.available(*NEEDS[name]):
        pytest.skip(f"not at hand: {', '.join(NEEDS[name])}")
    told = []
    doctest.DocTestRunner(optionflags=FLAGS).run(test, out=told.append)
    assert "".join(told) == ""


@pytest.mark.parametrize("name", ["epsutil.spaces.Space", "epsutil.search.Neighbourhood"])
def test_an_example_of_a_class_shows_its_methods(name):
    thing, test = examples_of(name)
    source = "".join(example.source for example in test.examples)
    plumbing = {"check_dtype", "structure"}
    assert [m for m in public_members(thing) if f".{m}(" not in source and m not in plumbing] == []


def test_examples_that_fail_are_noticed():
    def wrong():
        """
        >>> 1 + 1
        3
        """

    (test,) = doctest.DocTestFinder().find(wrong, "wrong", globs={})
    assert doctest.DocTestRunner(optionflags=FLAGS).run(test, out=lambda text: None).failed == 1
