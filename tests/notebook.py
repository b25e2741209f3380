"""What a notebook holds, for tests: its text, and the functions that it defines."""

import ast
import json

from epsutil import paths


def cells(name, kind):
    """Return the sources of a notebook's cells of a kind, ``"code"`` or ``"markdown"``."""
    notebook = json.loads((paths.NOTEBOOKS / f"{name}.ipynb").read_text("utf-8"))
    return ["".join(c["source"]) for c in notebook["cells"] if c["cell_type"] == kind]


def cell(name, cell_id):
    """Return the source of one of a notebook's cells."""
    notebook = json.loads((paths.NOTEBOOKS / f"{name}.ipynb").read_text("utf-8"))
    return "".join(next(c["source"] for c in notebook["cells"] if c["id"] == cell_id))


def prose(name):
    """Return what a notebook says: its text cells, and the texts in its code."""
    texts = cells(name, "markdown")
    for source in cells(name, "code"):
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(node.value)
    return "\n\n".join(texts)


def functions(name, **given):
    """Return the functions that a notebook defines, over its imports and the names given."""
    namespace = dict(given)
    kinds = (ast.Import, ast.ImportFrom, ast.FunctionDef)
    for source in cells(name, "code"):
        body = [node for node in ast.parse(source).body if isinstance(node, kinds)]
        exec(compile(ast.Module(body, []), name, "exec"), namespace)
    return namespace
