"""Running a Python file that the person at the command line named, and saying in one line what goes wrong in it."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from sgdsheet.errors import Ended, Error, one_line

_OURS = str(Path(__file__).parent) + os.sep


def module(file: Path) -> ModuleType:
    """Runs a Python file as a module of its own and returns it. Raises `Error` if there is none, or if it raises."""
    if not file.is_file():
        raise Error(f"{file}: there is no such file")
    spec = importlib.util.spec_from_file_location(f"user_file_{file.stem}", file)  # no name that is taken
    if spec is None or spec.loader is None:
        raise Error(f"{file}: expected a Python file, as in my_model.py")
    found = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = found  # a dataclass looks for its module there
    sys.path.insert(0, str(file.resolve().parent))  # as `python my_model.py` does, for what lies beside it
    with explained(str(file)):
        spec.loader.exec_module(found)
    return found


@contextmanager
def explained(what: str, *but: type[BaseException]) -> Iterator[None]:
    """Turns what the user's code raises into one line: where, and what it says.

    Also what would end the program without a word, as `sys.exit` does; but not Ctrl-C, a signal, or what `but` names.
    """
    try:
        yield
    except (KeyboardInterrupt, Ended, *but):
        raise
    except BaseException as error:
        kind, where, said = type(error).__name__, line_of(error), one_line(error)
        raise Error(
            f"{what} raises {kind}{f' in {where}' if where else ''}{f': {said}' if said != kind else ''}"
        ) from None


def line_of(error: BaseException) -> str:
    """The last line of the user's source that led to an error, as in `my_model.py, line 12`."""
    torch = importlib.util.find_spec("torch")
    others = (_OURS, "<", *((torch.submodule_search_locations or ()) if torch else ()))
    found, trace = "", error.__traceback__
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if not file.startswith(others):
            found = f"{Path(file).name}, line {trace.tb_lineno}"
        trace = trace.tb_next
    return found
