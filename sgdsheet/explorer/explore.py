"""`sgdsheet.explore`: a workbook, or a model that is compiled first, in a notebook or a browser."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sgdsheet.errors import Error

if TYPE_CHECKING:
    from sgdsheet.explorer.widget import Explorer

MISSING = "a notebook needs anywidget to show a workbook; pip install 'sgdsheet[notebook]' brings it"


def explore(what: Any, *arguments: Any, **options: Any) -> Explorer | None:
    """Shows a workbook, live: its cells can be typed into, and each says where its number comes from.

        sgdsheet.explore("linear_sgd")
        sgdsheet.explore("mine/linear_sgd.xlsx")
        sgdsheet.explore(model, x, y, torch.nn.functional.mse_loss, optimizer, steps=5)

    Arguments:
      what: an .xlsx file, the name of a workbook of the catalogue, a PyTorch model, or what `sgdsheet.compile` gave.
      arguments, options: for a model, those of `sgdsheet.compile`.

    No spreadsheet program is needed, and no file is changed: the page saves a copy. In a notebook, returns the widget.
    Elsewhere the page is opened in the browser until Ctrl-C, and None is returned.

    Raises `Error` for what cannot be read or compiled, and in a notebook if anywidget is not installed.
    """
    widget = _widget() if in_notebook() else None
    with tempfile.TemporaryDirectory(prefix="sgdsheet-") as folder:
        path = workbook(what, Path(folder), *arguments, **options)
        if widget is not None:
            return widget(path)  # whose session has a copy of its own
        from sgdsheet.explorer.app import serve

        serve(path)
    return None


def workbook(what: Any, folder: Path, *arguments: Any, **options: Any) -> Path:
    """Returns the file to show; one that is not there yet, of a lesson or a model, is written into `folder`.

    The name of a lesson means `workbooks/NAME.xlsx` or `NAME.xlsx` where one of them is there.
    """
    from sgdsheet import lessons

    if not isinstance(what, (str, Path)):
        return _compiled(what, folder, *arguments, **options)
    if arguments or options:
        raise Error(f"{what}: a workbook that is there takes no other arguments; those of compile go with a model")
    path = Path(what)
    if path.suffix.lower() == ".xlsx" or path.parent != Path():
        if not path.is_file():
            raise Error(f"{path}: there is no such file")
        return path
    lesson = lessons.find(str(what))
    for beside in (Path("workbooks") / f"{what}.xlsx", Path(f"{what}.xlsx")):
        if beside.is_file():
            return beside
    from sgdsheet.generation import generate

    return generate(lesson, folder / f"{what}.xlsx").path


def in_notebook() -> bool:
    """Returns whether this runs where a widget can be shown: Jupyter, VS Code, Colab, marimo."""
    if ipython := sys.modules.get("IPython"):
        return hasattr(ipython.get_ipython(), "kernel")
    marimo = sys.modules.get("marimo")
    return marimo is not None and marimo.running_in_notebook()


def _widget() -> type[Explorer]:
    try:
        from sgdsheet.explorer.widget import Explorer
    except ModuleNotFoundError as error:
        if error.name != "anywidget":
            raise
        raise Error(MISSING) from None
    return Explorer


def _compiled(what: Any, folder: Path, *arguments: Any, **options: Any) -> Path:
    import torch

    from sgdsheet.torch_frontend.compiled import Compiled, compile

    if isinstance(what, Compiled):
        if arguments or options:
            raise Error("what was compiled takes no other arguments; give them to compile")
        return what.save(folder / "compiled.xlsx").path
    if not isinstance(what, torch.nn.Module):
        raise Error(f"expected a file, a workbook's name or a PyTorch model, got {type(what).__name__}")
    return compile(what, *arguments, **options).save(folder / f"{type(what).__name__}.xlsx").path
