"""What the trainer's web pages share: one style sheet, one frame around them, and headers that let nothing else in.

A page is a template beside this file that extends `base.html`; what is put into it is escaped. No page takes anything
from elsewhere, none has a script or a style in its own text, and no other page may show it in a frame. Bars are
`<meter>` elements, whose lengths need no style of their own.
"""

from __future__ import annotations

import functools
import mimetypes
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment
    from starlette.responses import Response

HERE = Path(__file__).parent
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


@functools.cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )


def rendered(template: str, **values: Any) -> str:
    """Returns the HTML of a template, as "serve.html", with these values."""
    return _environment().get_template(template).render(values)


def page(template: str, status: int = 200, **values: Any) -> Response:
    """Returns a page as Starlette answers with it, under the headers that all pages have."""
    from starlette.responses import HTMLResponse

    return HTMLResponse(rendered(template, **values), status, HEADERS)


def file(name: str) -> Response:
    """Returns a file that pages ask for, as "style.css"; `name` is one of ours, not the visitor's."""
    from starlette.responses import Response

    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
    return Response((HERE / name).read_bytes(), 200, HEADERS, kind)
