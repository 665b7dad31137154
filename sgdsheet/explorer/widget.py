"""The explorer in a notebook: the same front end, whose messages travel through the kernel."""

from __future__ import annotations

import re
import threading
from pathlib import Path
from typing import Any

import anywidget

from sgdsheet.errors import Error, one_line
from sgdsheet.explorer.session import Session

WEB = Path(__file__).parent / "web"
IMPORT = re.compile(r'^import [^;]*? from "\./([^"]+)";$', re.MULTILINE)
STYLES = ("explorer.css", "parts.css")

# Each message has a number, by which its answer is found; what is asked while the kernel runs a cell waits.
RENDER = """
export default {
  render({ model, el }) {
    const waiting = new Map();
    let last = 0;
    const hear = ({ id, answer }) => {
      const settle = waiting.get(id);
      if (!settle) return;
      waiting.delete(id);
      if (answer?.error) settle.reject(new Error(answer.error));
      else settle.resolve(answer);
    };
    const mine = crypto.getRandomValues(new Uint32Array(2)).join("-");
    const ask = (message) =>
      new Promise((resolve, reject) => {
        const id = `${mine}-${(last += 1)}`;
        waiting.set(id, { resolve, reject });
        model.send({ id, message });
      });
    model.on("msg:custom", hear);
    mount(el, ask, { mode: "widget" });
    return () => model.off("msg:custom", hear);
  },
};
"""


def modules(name: str = "explorer.js") -> dict[str, str]:
    """Returns the text of a module of the front end and of all that it imports, which stand before it."""
    text, found = (WEB / name).read_text(encoding="utf-8"), {}
    for needed in IMPORT.findall(text):
        found |= {each: told for each, told in modules(needed).items() if each not in found}
    return found | {name: text}


def joined() -> str:
    """Returns these modules as one, without what they import of each other, and what a notebook calls."""
    plain = [IMPORT.sub("", text) for text in modules().values()]
    return "\n".join([re.sub(r"^export (?=\w)", "", text, flags=re.MULTILINE) for text in plain] + [RENDER])


class Explorer(anywidget.AnyWidget):
    """A workbook as a widget, with a session of its own. `sgdsheet.explore` makes one."""

    _esm = joined()
    _css = "\n".join((WEB / name).read_text(encoding="utf-8") for name in STYLES)

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._session = Session(path)
        self.on_msg(self._asked)

    def _asked(self, _: Any, content: dict[str, Any], buffers: Any) -> None:
        if isinstance(content["message"], dict) and content["message"].get("ask") == "readers":
            threading.Thread(target=self._tell, args=(content,), daemon=True).start()
        else:
            self._tell(content)

    # What runs torch stays in the kernel's own thread: its default dtype is float64 for that while, in all threads.
    def _tell(self, content: dict[str, Any]) -> None:
        self.send({"id": content["id"], "answer": self._answered(content["message"])})

    def _answered(self, message: dict[str, Any]) -> Any:
        try:
            return self._session.answer(message)
        except Error as error:
            return {"error": str(error)}
        except Exception as error:  # a fault of this program: the widget must not wait for ever
            return {"error": f"the explorer failed ({type(error).__name__}: {one_line(error)}); please report this"}
