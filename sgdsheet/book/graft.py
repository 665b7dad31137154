"""Sheets of one workbook put into the file of another, with their looks, charts and links."""

from __future__ import annotations

import posixpath
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from xml.sax.saxutils import unescape

Parts = dict[str, bytes]

_R = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_TYPES = "application/vnd.openxmlformats-officedocument."
# What a cell's look is made of: where each list stands, and what refers to it in a look.
_LISTS = {"fonts": "fontId", "fills": "fillId", "borders": "borderId"}
_ORDER = ("numFmts", "fonts", "fills", "borders", "cellStyleXfs", "cellXfs", "cellStyles", "dxfs", "tableStyles")


def grafted(parts: Parts, donor: Path) -> Parts:
    """The parts of a workbook with the sheets of `donor`, which sgdsheet wrote, but for its first and its last one.

    They come before the workbook's own last sheet; one that is there under such a name is replaced.
    """
    with zipfile.ZipFile(donor) as archive:
        given = {name: archive.read(name) for name in archive.namelist()}
    sheets = [*_sheets(given)][1:-1]
    parts = dict(parts)
    for name, _ in sheets:
        _remove(parts, name)
    looks, formats = _with_looks(parts, given)
    for name, part in sheets:
        _add(parts, given, name, part, looks, formats)
    return parts


def _sheets(parts: Parts) -> list[tuple[str, str]]:
    """Each sheet's name as the file has it, and its part, in order."""
    targets = dict(_links(parts, "xl/workbook.xml"))
    found = []
    for element in re.findall(r"<(?:\w+:)?sheet\s[^>]*>", parts["xl/workbook.xml"].decode()):
        name, link = re.search(r'\sname="([^"]*)"', element), re.search(r'\s\w+:id="([^"]*)"', element)
        assert name is not None
        assert link is not None
        found.append((name[1], targets[link[1]]))
    return found


def _links(parts: Parts, part: str) -> list[tuple[str, str]]:
    """What a part refers to: each link's name and the part that it leads to."""
    found = []
    for element in re.findall(r"<(?:\w+:)?Relationship\s[^>]*>", parts.get(_rels(part), b"").decode()):
        says = dict(re.findall(r'(\w+)="([^"]*)"', element))
        if says.get("TargetMode") != "External":
            target = posixpath.normpath(posixpath.join("/", posixpath.dirname(part), unescape(says["Target"])))
            found.append((says["Id"], target.lstrip("/")))
    return found


def _rels(part: str) -> str:
    folder, name = posixpath.split(part)
    return posixpath.join(folder, "_rels", f"{name}.rels")


def _changed(parts: Parts, part: str, change: Callable[[str], str]) -> None:
    parts[part] = change(parts[part].decode("utf-8-sig")).encode()


# --- Looks ------------------------------------------------------------------------------------------------------------


def _with_looks(parts: Parts, given: Parts) -> tuple[int, int]:
    """Puts the donor's looks behind the workbook's own; returns how many cell looks and conditional ones were there."""
    donor, text = given["xl/styles.xml"].decode(), parts["xl/styles.xml"].decode("utf-8-sig")
    free = max([163, *(int(each) for each in re.findall(r'<numFmt\b[^>]*\bnumFmtId="(\d+)"', text))]) + 1
    formats = {each: str(free + n) for n, each in enumerate(re.findall(r'<numFmt\b[^>]*\bnumFmtId="(\d+)"', donor))}

    def numbered(element: str) -> str:
        return re.sub(r'\bnumFmtId="(\d+)"', lambda m: f'numFmtId="{formats.get(m[1], m[1])}"', element)

    before = {tag: len(_children(text, tag)) for tag in ("cellXfs", "dxfs", *_LISTS)}
    added = {tag: _children(donor, tag) for tag in ("numFmts", *_LISTS, "cellXfs", "dxfs")}
    added["numFmts"] = [numbered(each) for each in added["numFmts"]]
    for tag, refers in _LISTS.items():
        added["cellXfs"] = [
            re.sub(rf'\b{refers}="(\d+)"', lambda m, n=before[tag], to=refers: f'{to}="{int(m[1]) + n}"', each)
            for each in added["cellXfs"]
        ]
    added["cellXfs"] = [re.sub(r'\bxfId="\d+"', 'xfId="0"', numbered(each)) for each in added["cellXfs"]]
    for tag, children in added.items():
        text = _with_children(text, tag, children)
    parts["xl/styles.xml"] = text.encode()
    return before["cellXfs"], before["dxfs"]


def _list(text: str, tag: str) -> re.Match[str] | None:
    return re.search(rf"<{tag}\b([^>]*?)(?:/>|>(.*?)</{tag}>)", text, re.DOTALL)


def _children(text: str, tag: str) -> list[str]:
    """The elements of one of the lists in a file's styles, whole."""
    found = _list(text, tag)
    if found is None or not found[2]:
        return []
    child = {"numFmts": "numFmt", "fonts": "font", "fills": "fill", "borders": "border", "dxfs": "dxf"}.get(tag, "xf")
    return [each[0] for each in re.finditer(rf"<{child}\b(?:[^>]*/>|.*?</{child}>)", found[2], re.DOTALL)]


def _with_children(text: str, tag: str, children: list[str]) -> str:
    """The styles with more elements in one of their lists."""
    if not children:
        return text
    found, own = _list(text, tag), _children(text, tag)
    attributes = re.sub(r'\s*count="\d+"', "", found[1]) if found else ""
    whole = f'<{tag}{attributes} count="{len(own) + len(children)}">{"".join([*own, *children])}</{tag}>'
    if found:
        return text[: found.start()] + whole + text[found.end() :]
    after = "|".join([*_ORDER[_ORDER.index(tag) + 1 :], "colors", "extLst"])
    place = re.search(rf"<(?:{after})\b|</styleSheet>", text)
    assert place is not None
    return text[: place.start()] + whole + text[place.start() :]


# --- Sheets -----------------------------------------------------------------------------------------------------------


def _add(parts: Parts, given: Parts, name: str, part: str, looks: int, formats: int) -> None:
    """Puts one sheet into the workbook, with what it refers to."""
    new = _copied(parts, given, part, {})

    def change(text: str) -> str:
        text = re.sub(r'(<c\s[^>]*?\bs=")(\d+)"', lambda m: f'{m[1]}{int(m[2]) + looks}"', text)
        text = re.sub(r'(<row\s[^>]*?\bs=")(\d+)"', lambda m: f'{m[1]}{int(m[2]) + looks}"', text)
        text = re.sub(r'(<col\s[^>]*?\bstyle=")(\d+)"', lambda m: f'{m[1]}{int(m[2]) + looks}"', text)
        return re.sub(r'\bdxfId="(\d+)"', lambda m: f'dxfId="{int(m[1]) + formats}"', text)

    _changed(parts, new, change)
    link = _link(parts, new)
    text = parts["xl/workbook.xml"].decode()
    elements = [*re.finditer(r"<(?:\w+:)?sheet\s[^>]*?(?:/>|></(?:\w+:)?sheet>)", text)]
    number = max(int(each) for each in re.findall(r'\bsheetId="(\d+)"', text)) + 1
    prefix = re.match(r"<((?:\w+:)?)sheet", elements[-1][0])
    assert prefix is not None
    element = f'<{prefix[1]}sheet xmlns:r="{_R}" name="{name}" sheetId="{number}" r:id="{link}"/>'
    at = len(elements) - 1
    text = text[: elements[at].start()] + element + text[elements[at].start() :]
    parts["xl/workbook.xml"] = _shifted(text, at, 1).encode()


def _copied(parts: Parts, given: Parts, part: str, done: dict[str, str]) -> str:
    """Copies a part and all that it refers to under names that are free; returns its new name."""
    if part in done:
        return done[part]
    stem = re.sub(r"\d*\.xml$", "", part)
    number = 1
    while f"{stem}{number}.xml" in parts:
        number += 1
    new = done[part] = f"{stem}{number}.xml"
    parts[new] = given[part]
    if rels := given.get(_rels(part)):
        text = rels.decode()
        for link, target in _links(given, part):
            to = _copied(parts, given, target, done)
            text = re.sub(
                r"<Relationship\s[^>]*>",
                lambda m, link=link, to=to: (
                    re.sub(r'Target="[^"]*"', f'Target="/{to}"', m[0]) if f'Id="{link}"' in m[0] else m[0]
                ),
                text,
            )
        parts[_rels(new)] = text.encode()
    kind = re.search(rf'<Override\s[^>]*PartName="/{re.escape(part)}"[^>]*>', given["[Content_Types].xml"].decode())
    assert kind is not None
    says = re.search(r'ContentType="([^"]*)"', kind[0])
    assert says is not None
    _changed(
        parts,
        "[Content_Types].xml",
        lambda text: text.replace("</Types>", f'<Override ContentType="{says[1]}" PartName="/{new}"/></Types>'),
    )
    return new


def _link(parts: Parts, part: str) -> str:
    """Makes the workbook refer to a new sheet; returns the link's name."""
    rels = "xl/_rels/workbook.xml.rels"
    used = {link for link, _ in _links(parts, "xl/workbook.xml")}
    link = next(f"rId{n}" for n in range(1, len(used) + 2) if f"rId{n}" not in used)
    element = f'<Relationship Id="{link}" Target="/{part}" Type="{_R}/worksheet"/></Relationships>'
    _changed(parts, rels, lambda text: text.replace("</Relationships>", element))
    return link


def _remove(parts: Parts, name: str) -> None:
    """Takes a sheet out of the workbook, if it is there, with its drawing and charts."""
    names = [each for each, _ in _sheets(parts)]
    if name not in names:
        return
    at, part = names.index(name), dict(_sheets(parts))[name]
    link = next(link for link, target in _links(parts, "xl/workbook.xml") if target == part)
    text = parts["xl/workbook.xml"].decode()
    elements = [*re.finditer(r"<(?:\w+:)?sheet\s[^>]*?(?:/>|></(?:\w+:)?sheet>)", text)]
    text = text[: elements[at].start()] + text[elements[at].end() :]
    text = re.sub(rf'<definedName\b[^>]*\blocalSheetId="{at}"[^>]*>.*?</definedName>', "", text, flags=re.DOTALL)
    parts["xl/workbook.xml"] = _shifted(text, at + 1, -1).encode()
    _changed(
        parts,
        "xl/_rels/workbook.xml.rels",
        lambda text: re.sub(rf'<Relationship\s[^>]*\bId="{link}"[^>]*?(?:/>|></Relationship>)', "", text),
    )
    _drop(parts, part)


def _drop(parts: Parts, part: str) -> None:
    """Takes a part out of the file, and what it alone refers to: a sheet's drawing, its charts."""
    for _, target in _links(parts, part):
        if target in parts:
            _drop(parts, target)
    parts.pop(_rels(part), None)
    parts.pop(part)
    pattern = rf'<Override\s[^>]*PartName="/{re.escape(part)}"[^>]*?(?:/>|></Override>)'
    _changed(parts, "[Content_Types].xml", lambda text: re.sub(pattern, "", text))


def _shifted(workbook: str, at: int, by: int) -> str:
    """The workbook's part after a sheet came or went: names of one sheet count the sheets, and so does the open tab."""

    def moved(match: re.Match[str]) -> str:
        return f'{match[1]}{int(match[2]) + (by if int(match[2]) >= at else 0)}"'

    return re.sub(r'(\b(?:localSheetId|activeTab|firstSheet)=")(\d+)"', moved, workbook)
