"""What a function in a user's own Python file returns: the arguments of `sgdsheet.compile`."""

from __future__ import annotations

import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sgdsheet.errors import Error, nearest
from sgdsheet.torch_frontend.compiled import compile
from sgdsheet.torch_frontend.tracing.origins import line_of


def arguments(target: str) -> dict[str, Any]:
    """What the function returns that `target` names, as in `my_model.py:make`: a dict of arguments for `compile`.

    Raises `Error` if there is no such file or function, if it raises, or returns something else.
    """
    file, colon, name = target.rpartition(":")
    if not colon or not file.endswith(".py") or not name.isidentifier():
        raise Error(f"expected a file and a function in it, as in my_model.py:make, got {target!r}")
    found = _function(Path(file), name)
    with _explained(f"{file}: {name}()"):
        given = found()
    if not isinstance(given, dict):
        raise Error(f"{target}: expected a dict of arguments for sgdsheet.compile, got {type(given).__name__}")
    known = list(inspect.signature(compile).parameters)
    for key in given:
        if key not in known:
            raise Error(f"{target}: there is no argument {key!r}{nearest(str(key), known)}")
    for key in ("model", "inputs"):
        if key not in given:
            raise Error(f"{target}: the dict that it returns has no {key!r}")
    return given


def _function(file: Path, name: str) -> Callable[[], Any]:
    if not file.is_file():
        raise Error(f"{file}: there is no such file")
    spec = importlib.util.spec_from_file_location(f"user_file_{file.stem}", file)  # no name that is taken
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # a dataclass looks for its module there
    sys.path.insert(0, str(file.resolve().parent))  # as `python my_model.py` does, for what lies beside it
    with _explained(str(file)):
        spec.loader.exec_module(module)
    if not callable(found := getattr(module, name, None)):
        mine = [key for key, value in vars(module).items() if getattr(value, "__module__", None) == spec.name]
        raise Error(f"{file}: there is no function {name!r} in it{nearest(name, mine) if mine else ''}")
    return found


@contextmanager
def _explained(what: str) -> Iterator[None]:
    """Turns what the user's code raises into one line: where, and what it says."""
    try:
        yield
    except (Exception, SystemExit) as error:
        said = " ".join(str(error).split())[:300]
        where = line_of(error)
        raise Error(f"{what} raises {type(error).__name__}{f' in {where}' if where else ''}: {said}") from None
