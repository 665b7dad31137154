"""What a function in a user's own Python file returns: the arguments of `sgdsheet.compile`."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

from sgdsheet.errors import Error, nearest
from sgdsheet.torch_frontend.compiled import compile
from sgdsheet.user_code import explained, module


def arguments(target: str) -> dict[str, Any]:
    """What the function returns that `target` names, as in `my_model.py:make`: a dict of arguments for `compile`.

    Raises `Error` if there is no such file or function, if it raises, or returns something else.
    """
    file, colon, name = target.rpartition(":")
    if not colon or not file.endswith(".py") or not name.isidentifier():
        raise Error(f"expected a file and a function in it, as in my_model.py:make, got {target!r}")
    own = vars(module(Path(file)))
    found = own.get(name)
    if not callable(found):
        mine = [key for key, value in own.items() if getattr(value, "__module__", None) == own["__name__"]]
        raise Error(f"{file}: there is no function {name!r} in it{nearest(name, mine)}")
    with explained(f"{file}: {name}()"):
        given = found()
    if not isinstance(given, dict):
        raise Error(f"{target}: expected a dict of arguments for sgdsheet.compile, got {type(given).__name__}")
    known = list(inspect.signature(compile).parameters)
    for key in given:
        if key not in known:
            raise Error(f"{target}: there is no argument {key!r}{nearest(str(key), known)}")
    for key in ("model", "inputs"):
        if not (key == "inputs" and "batches" in given) and key not in given:
            raise Error(f"{target}: the dict that it returns has no {key!r}")
    return given
