"""How people lay out pictures in folders: a folder for each class, folders for a split, or names that say the class."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

from sgdsheet.errors import Error, nearest
from trainer.data.labels import Label, Labelled, by_rule, counted, enumerated
from trainer.data.split import part_of
from trainer.data.walk import HEIF, SUFFIXES, Folder, joined, suffix_of

# Names of folders that hold everything else, and are no classes; and of some that are none if nothing is beside them.
CONTAINERS = {*"images image imgs img jpegimages data dataset datasets".split()}
PERHAPS = CONTAINERS | {*"pictures photos jpg jpeg png classes archive".split()}
# Files that are pictures, which Pillow does not read or only with a package more; and files that are surely none.
UNREAD = HEIF | {*".jxl .svg .psd .dng .cr2 .cr3 .nef .arw .orf .rw2 .raf .pef .srw".split()}
NO_PICTURES = {*".txt .csv .tsv .json .jsonl .xml .md .html .yaml .yml .log .db .ini .py .ipynb .npy .mat .pts".split()}


def labelled(root: Folder, label: Label | None = None) -> Labelled:
    """The pictures below a folder, by the folders that they are in; or by a rule, `label`. Raises `Error`."""
    if not root.count:
        raise Error(_no_pictures(root))
    top = _inner(root)
    if label is not None:
        return _by_rule(root, top, label)
    parts = _parts(top)
    found = Labelled({})
    classes: dict[str, list[Folder]] = {}
    for part, folder in (parts or {"": top}).items():
        for each in _classes_of(part, folder, list(classes), found):
            classes.setdefault(each.name, []).append(each)
            names = each.all_pictures()
            found.labels.update(dict.fromkeys(names, (each.name,)))
            if part:
                found.parts.update(dict.fromkeys(names, part))
    if len(classes) == 1 and not parts and len(inside := _inner(top.holding[0]).holding) > 1:
        found.said.append(f"give {inside[0].path.parent} if the folders in it are the classes")
    for name in classes:
        if _part_in(name):
            found.said.append(f"{name} is taken for a class, and not for a part of a split")
    used = {part: folder for part, folder in parts.items() if part in found.parts.values()}
    found.said = [*_taken(root, top, used), *found.said, *_left_out(classes)]
    found.said += _passed(root, {each for folders in classes.values() for each in folders})
    return found


def _by_rule(root: Folder, top: Folder, label: Label) -> Labelled:
    known = _known(top)
    parts = known if "train" in known and len(known) > 1 else {}
    in_part = {name: part for part, folder in parts.items() for name in folder.all_pictures()}
    found = by_rule(list(in_part) or root.all_pictures(), in_part, label, root.path)
    taken = _taken(root, top, parts) if parts else []
    found.said = [*taken, *found.said, *_left_out({"": [root]}), *_passed(root, {root})]
    return found


def _taken(root: Folder, top: Folder, parts: dict[str, Folder]) -> list[str]:
    """Which folders are the split or the classes, and what is passed over beside them."""
    said = []
    if top is not root:
        said.append(f"{root.path}: all pictures are in {top.below}, whose folders are taken")
    if parts:
        named = [f"{part} is {'the rest' if each.below == top.below else each.name}" for part, each in parts.items()]
        said.append(f"{top.path}: {', '.join(named)}")
    used = [each for part in parts.values() for each in (part, *part.folders)]
    aside = [each.below for each in top.holding if parts and each not in used and part_of(each.name) is None]
    if aside:
        said.append(f"passed over: {enumerated(aside)} (beside the folders of the split)")
    return [*said, *_strays(top)] if parts else said


def _strays(folder: Folder) -> list[str]:
    """What is said of pictures that lie beside the folders that are taken."""
    if not folder.pictures:
        return []
    first = joined(folder.below, folder.pictures[0])
    return [f"passed over: {counted(len(folder.pictures), 'picture')} beside the folders, as {first}"]


# --- A folder for each class ----------------------------------------------------------------------------------------


def _inner(folder: Folder) -> Folder:
    """The folder inside that holds all the pictures, if that is what its name says: as in bears/bears, or images."""
    while not folder.pictures and len(folder.holding) == 1:
        (only,) = folder.holding
        known = _known(only)
        says = only.name.casefold() in {*PERHAPS, folder.name.casefold()}
        if not says and not ("train" in known and len(known) > 1):
            break
        folder = only
    return folder


def _class_folders(folder: Folder) -> list[Folder]:
    """Those that hold pictures. Raises `Error` if there are none, or if they look like anything but classes."""
    if not folder.holding:
        tables = [*sorted(folder.path.glob("*.csv")), *sorted(folder.root.glob("*.csv"))]
        csv = f", as csv={str(tables[0].relative_to(folder.root))!r}" if tables else ""
        raise Error(
            f"{folder.path}: expected a folder for each class, but its pictures lie directly in it; if their names say "
            f"the class, give label, as label='^(.+)_[0-9]+'; or a CSV{csv}"
        )
    _require_no_container(folder)
    _require_no_collections(folder)
    return folder.holding


def _require_no_container(folder: Folder) -> None:
    containers = [each for each in folder.holding if each.name.casefold() in CONTAINERS]
    if containers and len(folder.holding) > 1:
        beside = [each.name for each in folder.holding if each is not containers[0]]
        raise Error(
            f"{folder.path}: expected a folder for each class; {containers[0].name!r} is hardly one, and beside it "
            f"{enumerated(beside)} has pictures as well; give {containers[0].path}, or, if all are classes, "
            f"{_as_classes(folder)}"
        )


def _require_no_collections(folder: Folder) -> None:
    """Folders that hold the same folders, with most of the pictures: those inside are the classes, or neither is."""
    inside = Counter(each.name.casefold() for one in folder.holding for each in one.holding)
    again = sorted(name for name, count in inside.items() if count > 1)
    within = [(one, each) for one in folder.holding for each in one.holding if each.name.casefold() in again]
    if len(again) < 2 or 2 * sum(each.count for _, each in within) <= folder.count:
        return
    outer = list(dict.fromkeys(one.name for one, _ in within))
    raise Error(
        f"{folder.path}: expected a folder for each class, but {enumerated(outer, 3)} hold the same folders, "
        f"{enumerated(again, 3)}: they look like the splits of a set, or like sets; give one of them, or a CSV with a "
        f"column split; if they are the classes, {_as_classes(folder)}"
    )


def _as_classes(folder: Folder) -> str:
    depth = folder.below.count("/") + 1 if folder.below else 0
    return f"label={'^' + '[^/]+/' * depth + '([^/]+)/'!r}"


# --- Folders of a split ---------------------------------------------------------------------------------------------


def _known(top: Folder) -> dict[str, Folder]:
    """Its folders with pictures whose names are those of parts, by the part."""
    known: dict[str, Folder] = {}
    for each in top.holding:
        part = part_of(each.name)
        if part is not None and known.setdefault(part, each) is not each:
            raise Error(_twice(top, part, [known[part].name, each.name]))
    return {part: known[part] for part in ("train", "valid", "test") if part in known}


def _parts(top: Folder) -> dict[str, Folder]:
    """The folder of each part, train first; empty if the folders are no split."""
    known = _known(top)
    others = [each for each in top.holding if each not in known.values()]
    if "train" in known:
        if len(known) > 1 or not others:
            return known
        train = known["train"]
        if len(train.holding) > 1 and not train.pictures:
            raise Error(
                f"{top.path}: {train.name} holds folders ({enumerated([each.name for each in train.holding], 3)}) and "
                f"has {enumerated([each.name for each in others], 3)} beside it; give {train.path} if its folders are "
                f"the classes, or, if it is a class itself, {_as_classes(top)}"
            )
        return {}
    worded = _worded(top)
    if worded:
        return worded
    if known and not others:
        names = " and ".join(each.name for each in known.values())
        raise Error(
            f"{top.path}: there is {names}, but no train beside it; give {next(iter(known.values())).path} if its "
            "folders are the classes"
        )
    siblings = {each.name for each in others}
    for part, each in list(known.items()):
        names = {one.name for one in _inner(each).holding}
        unlabelled = part == "test" and not names and len(siblings) > 1
        if not unlabelled and not (names and names <= siblings):
            del known[part]
    classes = [each for each in top.holding if each not in known.values()]
    return {"train": replace(top, pictures=[], folders=classes), **known} if known else {}


def _worded(top: Folder) -> dict[str, Folder]:
    """A split whose folders have longer names, as training_set and test2017, if what they hold bears it out."""
    worded: dict[str, list[Folder]] = {}
    for each in top.holding:
        part = _part_in(each.name)
        if part:
            worded.setdefault(part, []).append(each)
    if "train" not in worded or len(worded) == 1:
        return {}
    for part, folders in worded.items():
        if len(folders) > 1:
            raise Error(_twice(top, part, [each.name for each in folders]))
    parts = {part: worded[part][0] for part in ("train", "valid", "test") if part in worded}
    train, *others = (_inner(each) for each in parts.values())
    classes = {each.name for each in train.holding}
    alike = all(classes & {each.name for each in one.holding} for one in others if one.holding)
    if len(parts) < len(top.holding) and (len(classes) < 2 or train.pictures or not alike):
        names = enumerated([each.name for each in parts.values()])
        raise Error(
            f"{top.path}: {names} look like a split, but not by the folders in them; call them train, valid and test, "
            f"or, if all are classes, {_as_classes(top)}"
        )
    return parts


def _part_in(name: str) -> str | None:
    """The part that a name speaks of, as TrainImages or test2017 do, if it is a single one."""
    words = re.split(r"[\W\d_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name))
    parts = {part for word in words if (part := part_of(word))}
    return parts.pop() if len(parts) == 1 else None


def _twice(top: Folder, part: str, names: Sequence[str]) -> str:
    return (
        f"{top.path}: both {' and '.join(names)} could be the folder of {part}; keep one of them out with "
        f"without=[{str(top.path / names[-1])!r}]"
    )


def _classes_of(part: str, folder: Folder, known: Sequence[str], found: Labelled) -> list[Folder]:
    """The class folders of a part; beside train, only those of the classes that are known from there."""
    top = _inner(folder) if part else folder
    if part == "test" and (not top.holding or not {each.name for each in top.holding} & set(known)):
        found.said.append(f"passed over: {folder.below}: its {folder.count:,} pictures have no classes to be scored by")
        return []
    classes = _class_folders(top)
    found.said += _strays(top)
    if part in ("valid", "test"):
        unknown = [each for each in classes if each.name not in known]
        if unknown and part == "valid":
            name = unknown[0].name
            raise Error(f"{unknown[0].path}: there is no class {name!r} to train with{nearest(name, known)}")
        if unknown:
            names = enumerated([each.below for each in unknown])
            found.said.append(f"passed over: {names}: there is no such class to train with")
        classes = [each for each in classes if each.name in known]
    return classes


# --- What is left out -----------------------------------------------------------------------------------------------


def _left_out(classes: dict[str, list[Folder]]) -> list[str]:
    """The files in the folders of each class that are no pictures, and the classes that lose much by it."""
    left = {name: [file for each in folders for file in each.all_others()] for name, folders in classes.items()}
    every = [file for files in left.values() for file in files]
    said = []
    unread = [file for file in every if suffix_of(file) in UNREAD]
    if unread:
        pip = ", or pip install pillow-heif" if {suffix_of(file) for file in unread} & HEIF else ""
        said.append(f"left out: {_kinds(unread)}, which Pillow cannot read here; convert them to .jpg{pip}")
    rest = [file for file in every if suffix_of(file) not in UNREAD]
    if rest:
        said.append(f"left out: {_kinds(rest)}, no pictures by their names")
    for name, files in left.items():
        kept = sum(folder.count for folder in classes[name])
        perhaps = [file for file in files if suffix_of(file) not in NO_PICTURES]
        if name and len(perhaps) >= kept:
            said.append(f"class {name!r} keeps {kept:,} of {kept + len(perhaps):,} files; left out: {_kinds(perhaps)}")
    return said


def _kinds(files: Iterable[str]) -> str:
    """`5 .heic, 1 .xyz files and 2 files without a suffix`."""
    counts = Counter(suffix_of(file) for file in files)
    kinds = [f"{count:,} {suffix}" for suffix, count in counts.most_common() if suffix]
    words = [f"{enumerated(kinds)} {'file' if sum(counts.values()) - counts[''] == 1 else 'files'}"] if kinds else []
    if counts[""]:
        words.append(f"{counted(counts[''], 'file')} without a suffix")
    return " and ".join(words)


def _passed(root: Folder, classes: Collection[Folder]) -> list[str]:
    """The folders that were not looked into, and the outermost ones without pictures that are not in a class."""
    said = []
    passed = root.all_passed()
    for why in dict.fromkeys(passed.values()):
        said.append(f"passed over: {enumerated([name for name in passed if passed[name] == why])} ({why})")
    lost = {each.below: each.all_others() for each in _empty(root, classes) if not each.all_passed()}
    lost = {name: [file for file in files if suffix_of(file) not in NO_PICTURES] for name, files in lost.items()}
    quiet = [name for name, files in lost.items() if not files]
    if quiet:
        said.append(f"passed over: {enumerated(quiet)} (no pictures in {'it' if len(quiet) == 1 else 'them'})")
    said += [f"passed over: {name}: no pictures in it, but {_kinds(files)}" for name, files in lost.items() if files]
    return said


def _empty(folder: Folder, classes: Collection[Folder]) -> list[Folder]:
    if folder in classes:
        return []
    return [folder] if not folder.count else [empty for each in folder.folders for empty in _empty(each, classes)]


def _no_pictures(root: Folder) -> str:
    others = root.all_others()
    if not others and not root.folders and not root.passed:
        return f"{root.path}: the folder is empty; expected a folder for each class"
    but = f", but {_kinds(others)}" if others else ""
    return f"{root.path}: there are no pictures in it{but}; a picture's name ends in {', '.join(sorted(SUFFIXES))}"
