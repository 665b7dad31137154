"""The files of a form (multipart/form-data) that is in memory, and stays there."""

from __future__ import annotations

from dataclasses import dataclass, field

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header


@dataclass
class _Part:
    headers: dict[bytes, bytes] = field(default_factory=dict)
    content: bytearray = field(default_factory=bytearray)
    name: bytearray = field(default_factory=bytearray)  # of the header that is read now, and its value
    value: bytearray = field(default_factory=bytearray)


def files(kind: str, body: bytes) -> list[tuple[str, bytes]]:
    """Returns the names and contents of a form's files; `kind` is its Content-Type. Raises `ValueError`."""
    boundary = parse_options_header(kind)[1].get(b"boundary")
    if not boundary:
        raise ValueError("its Content-Type has no boundary")
    parts: list[_Part] = []
    ended: list[bool] = []

    def end_header() -> None:
        parts[-1].headers[bytes(parts[-1].name).lower()] = bytes(parts[-1].value)
        parts[-1].name, parts[-1].value = bytearray(), bytearray()

    def into(which: str):
        return lambda data, start, end: getattr(parts[-1], which).extend(data[start:end])

    try:
        MultipartParser(
            boundary,
            {
                "on_part_begin": lambda: parts.append(_Part()),
                "on_header_field": into("name"),
                "on_header_value": into("value"),
                "on_header_end": end_header,
                "on_part_data": into("content"),
                "on_end": lambda: ended.append(True),
            },
        ).write(body)
    except FormParserError as error:
        raise ValueError(str(error)) from None
    if not ended:
        raise ValueError("it is cut off")
    found = []
    for part in parts:
        options = parse_options_header(part.headers.get(b"content-disposition", b""))[1]
        if b"filename" in options:
            found.append((options[b"filename"].decode(errors="replace") or "picture", bytes(part.content)))
    return found
