"""A page executed in a fork of this process, which has imported all that pages import."""

import json
import multiprocessing
import os

import nbformat
import papermill.parameterize
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

from epsutil import experiments, paths, search, weights  # noqa: F401  what pages import
from epsutil.book import execution, page, parameters, plots, verdicts  # noqa: F401


def run(name, given, output, scale="paper"):
    """Do what :func:`epsutil.book.execution.run` does, but for papermill and a kernel."""
    chosen = parameters.scale(name, scale) | parameters.check(name, given)
    child = multiprocessing.get_context("fork").Process(
        target=_execute, args=(name, chosen, output)
    )
    child.start()
    child.join()
    assert child.exitcode == 0, output.with_suffix(".txt").read_text("utf-8")
    return output


def _execute(name, chosen, output):
    os.chdir(paths.ROOT)
    os.environ["TQDM_DISABLE"] = "1"
    notebook = papermill.parameterize.parameterize_notebook(
        papermill.iorw.load_notebook_node(str(paths.NOTEBOOKS / f"{name}.ipynb")),
        chosen, kernel_name="python3", language="python",
    )  # fmt: skip
    shell = InteractiveShell.instance(user_ns={})
    for cell in notebook.cells:
        if cell.cell_type == "code":
            with capture_output() as captured:
                done = shell.run_cell(cell.source, store_history=True)
            if not done.success:
                text = f"{name}: {cell.source}\n\n{captured.stdout}\n{done.error_in_exec!r}"
                output.with_suffix(".txt").write_text(text, "utf-8")
                os._exit(1)
            cell.outputs = [_output(rich) for rich in captured.outputs]
            if done.result is not None and not cell.source.rstrip().endswith(";"):
                text = {"text/plain": repr(done.result)}
                cell.outputs.append(nbformat.v4.new_output("execute_result", text))
    nbformat.write(notebook, output)
    os._exit(0)  # nothing of the parent's is torn down


def _output(rich):
    data = json.loads(json.dumps(rich.data))
    return nbformat.v4.new_output("display_data", data, metadata=rich.metadata or {})
