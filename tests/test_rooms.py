"""The order of the rooms, which import downwards only, and how long each may become."""

import ast
import re

import pytest

from epsutil import paths

# From top to bottom: a module imports only from those after it. So there is no circle, and the
# library, which is all below the book, imports nothing of the book.
ORDER = """
    cli
    book.pdf book.site book.play book.meta book.execution book.extension
    book.page book.verdicts book.tables book.plots book.parameters book
    agreement weights experiments user_tables
    search
    scoring store
    user_modules proxies passes
    benchmarks inputs pools
    spaces spaces.nasbench101 spaces.nasbench201 spaces.nasbench_macro spaces.nasbench_nlp
    spaces.base spaces.indexing
    sources
    collapse.cells collapse.graphs collapse.norms collapse.scaled collapse.maps
    collapse.recurrent collapse
    metric networks initialise
    noise
    statistics
    names paths
""".split()
BUDGETS = {  # the most lines of a room, with its packages' modules; a room that grows is split
    "metric initialise noise statistics names paths": 1340,
    "collapse": 850,
    "spaces": 2100,
    "sources inputs pools benchmarks": 960,
    "proxies passes user_modules networks": 1310,
    "store scoring": 590,
    "experiments agreement weights user_tables": 1160,
    "search": 440,
    "book": 3010,
    "cli": 500,
}
EXAMPLES = re.compile(r'\n *Examples\n +-+\n.*?(?="""$)', re.DOTALL | re.MULTILINE)  # not counted
PACKAGE = paths.ROOT / "epsutil"
MODULES = {
    ".".join(file.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__"): file
    for file in PACKAGE.rglob("*.py")
    if file != PACKAGE / "__init__.py"
}


def imported(text):
    """Return the modules of the package that a module imports, anywhere in its text."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom):
            assert not node.level, "a relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            known = {name for name in names if name.removeprefix("epsutil.") in MODULES}
            found |= known if len(known) == len(names) else known | {node.module}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {name.removeprefix("epsutil.") for name in found if name.startswith("epsutil.")}


def upwards(name, text):
    """Return what a module imports that does not lie below it."""
    return {other for other in imported(text) if ORDER.index(other) <= ORDER.index(name)}


def test_every_module_has_its_place():
    assert set(MODULES) <= set(ORDER) and len(ORDER) == len(set(ORDER))
    of_a_room = {name for rooms in BUDGETS for name in rooms.split()}
    assert {name.partition(".")[0] for name in ORDER} == of_a_room


@pytest.mark.parametrize("name", sorted(MODULES))
def test_imports_go_down(name):
    assert upwards(name, MODULES[name].read_text("utf-8")) == set()


def test_an_import_upwards_is_found_wherever_it_stands():
    assert upwards("metric", "from epsutil import initialise, networks") == set()
    assert upwards("paths", "def f():\n    from epsutil import names") == {"names"}
    assert upwards("scoring", "import epsutil.book.site") == {"book.site"}
    assert upwards("store", "from epsutil.book.tables import SCORES") == {"book.tables"}
    assert upwards("spaces.nasbench101", "from epsutil.spaces import get") == {"spaces"}


@pytest.mark.parametrize("rooms", BUDGETS)
def test_rooms_keep_to_their_lines(rooms):
    lines = {
        name: len(EXAMPLES.sub("", file.read_text("utf-8")).splitlines())
        for name, file in MODULES.items()
        if name.partition(".")[0] in rooms.split()
    }
    assert sum(lines.values()) <= BUDGETS[rooms], lines


def test_only_examples_are_not_counted():
    text = '''def f():
    """Do.

    Examples
    --------
    >>> f()
    """
    return 1
'''
    assert EXAMPLES.sub("", text).splitlines()[-2:] == ['"""', "    return 1"]
