"""CSVs as people have them: which columns are taken for what, and what is refused."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sgdsheet.errors import Error
from trainer.data.folder import Listing, listing

BEARS = [(kind, number) for kind in ("black", "grizzly", "teddy") for number in range(4)]
Table = Callable[..., Path]


@pytest.fixture
def table(files: Callable[..., Path]) -> Table:
    """Writes a CSV of the bears beside their files: a header, and a row of what is made of kind, number and count."""

    def write(header: str, row: Callable[[str, int, int], str], named: str = "{kind}/{number}.jpg") -> Path:
        root = files(*(named.format(kind=kind, number=number) for kind, number in BEARS))
        rows = [row(kind, number, count) for count, (kind, number) in enumerate(BEARS)]
        csv = root / "bears.csv"
        csv.write_text("\n".join([header, *rows]) + "\n")
        return csv

    return write


def labels(found: Listing) -> dict[str, set[str]]:
    rows = found.labels == 1 if found.multi_label else np.eye(len(found.classes), dtype=bool)[found.labels]
    return {
        name: {each for each, its in zip(found.classes, row, strict=True) if its}
        for name, row in zip(found.names, rows, strict=True)
    }


def are_the_bears(found: Listing) -> bool:
    assert not found.multi_label
    assert found.labels.dtype == np.int64
    return len(found.names) == 12 and all(its == {name.split("/")[0]} for name, its in labels(found).items())


def parts(found: Listing) -> dict[str, str]:
    return dict(zip(found.names, found.part, strict=True))


def message(*arguments: object, **named: object) -> str:
    with pytest.raises(Error) as caught:
        listing(*arguments, **named)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- Which columns --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "row", "taken"),
    [
        (",path,label", "{count},{kind}/{number}.jpg,{kind}", "path, labels from label"),
        ("id,image_file,species", "{count},{kind}/{number}.jpg,{kind}", "image_file, labels from species"),
        ("id,path,label", "{count},{kind}/{number}.jpg,{kind}", "path, labels from label"),
        ("image,class_id,name", "{kind}/{number}.jpg,{place},{kind}", "image, labels from name"),
        ("class,name,filepath", "{place},{kind},{kind}/{number}.jpg", "filepath, labels from name"),
        ("label,class_name,path", "{place},{kind},{kind}/{number}.jpg", "path, labels from class_name"),
        ("file,width,height,breed", "{kind}/{number}.jpg,64{number},480,{kind}", "file, labels from breed"),
        ("width,height,path,label", "640,480,{kind}/{number}.jpg,{kind}", "path, labels from label"),
        ("file,columns,rows,breed", "{kind}/{number}.jpg,640,480,{kind}", "file, labels from breed"),
        ("image,breed,remark", "{kind}/{number}.jpg,{kind},the {count}th", "image, labels from breed"),
        ("image,occluded,cut,kind", "{kind}/{number}.jpg,{odd},{odd},{kind}", "image, labels from kind"),
        ("ImageID,Source,LabelName,Confidence", "{kind}/{number}.jpg,human,{kind},1", "ImageID, labels from LabelName"),
        ("file_name,text,label", "{kind}/{number}.jpg,a bear {count},{kind}", "file_name, labels from label"),
        ("path,file,label", "x/{number}.jpg,{kind}/{number}.jpg,{kind}", "file, labels from label"),
        ("Image Index,Finding Labels", "{kind}/{number}.jpg,{kind}", "Image Index, labels from Finding Labels"),
        ("image;label", "{kind}/{number}.jpg;{kind}", "image, labels from label"),
        ("image\tlabel", "{kind}/{number}.jpg\t{kind}", "image, labels from label"),
        ("image|label", "{kind}/{number}.jpg|{kind}", "image, labels from label"),
        ("image,label,,", "{kind}/{number}.jpg,{kind},,", "image, labels from label"),
        ("image,label", "{kind}\\{number}.jpg,{kind}", "image, labels from label"),
        ("image,label", ".\\{kind}\\{number}.jpg,{kind}", "image, labels from label"),
        ("image,label", "./{kind}/../{kind}/{number}.jpg,{kind}", "image, labels from label"),
        ("image,label", "/{kind}/{number}.jpg,{kind}", "image, labels from label"),
        ("image_id,label", "{kind}/{number},{kind}", "image_id, labels from label"),
        ("image_id,label", "{kind}\\{number},{kind}", "image_id, labels from label"),
        ("id,kind,kind_of_bear", "{kind}/{number},{place},{kind}", "id, labels from kind_of_bear"),
    ],
)
def test_the_columns_are_found(table: Table, header: str, row: str, taken: str) -> None:
    csv = table(
        header,
        lambda kind, number, count: row.format(
            kind=kind, number=number, count=count, place="bgt".index(kind[0]), odd=count % 2
        ),
    )
    found = listing(csv)
    assert are_the_bears(found)
    assert found.said == [f"{csv}: pictures from {taken}"]


def test_paths_that_begin_at_the_root_of_the_system(table: Table, tmp_path: Path) -> None:
    csv = table("path,label", lambda kind, number, count: f"{tmp_path}/root/{kind}/{number}.jpg,{kind}")
    found = listing(csv)
    assert labels(found) == {f"{tmp_path}/root/{kind}/{number}.jpg": {kind} for kind, number in BEARS}
    assert all(found.file(number).exists() for number in range(12))


@pytest.mark.parametrize("named", ["pictures/{number}{kind}.JPG", "pictures/{number}{kind}.webp"])
def test_ids_without_a_suffix_in_a_folder(table: Table, named: str) -> None:
    csv = table("id,breed", lambda kind, number, count: f"{number}{kind},{kind}", named)
    expected = {Path(named.format(kind=kind, number=number)).name: {kind} for kind, number in BEARS}
    for folder in ("pictures", csv.parent / "pictures"):
        found = listing(csv, folder=folder)
        assert labels(found) == expected
        assert found.root == csv.parent / "pictures"
    assert labels(listing(csv, folder="pictures", suffix=named.rpartition(".")[2])) == expected
    assert message(csv) == (
        f"{csv}: no column names files in {csv.parent}; tried id ('0black'), breed ('black'); they are in "
        f"{csv.parent}/pictures: give folder='{csv.parent}/pictures'"
    )
    assert message(csv, folder="pictures", suffix=".png") == (
        f"{csv}: no column names files in {csv.parent}/pictures; tried id ('0black'), breed ('black'); folder says "
        "where the paths start, suffix what follows them"
    )
    assert message(csv, folder="photos") == f"folder: there is no folder photos, neither in {csv.parent} nor by itself"


def test_a_suffix_says_which_of_two_files_is_meant(table: Table, files: Callable[..., Path]) -> None:
    csv = table("id,label", lambda kind, number, count: f"{kind}/{number},{kind}")
    files(*(f"{kind}/{number}.png" for kind, number in BEARS))
    assert {name[-4:] for name in listing(csv, suffix="png").names} == {".png"}
    assert {name[-4:] for name in listing(csv, suffix=".jpg").names} == {".jpg"}


def test_a_csv_by_its_path_from_the_pictures(table: Table) -> None:
    csv = table("path,label", lambda kind, number, count: f"{kind}/{number}.jpg,{kind}")
    assert are_the_bears(listing(csv.parent, csv="bears.csv"))
    tsv = csv.with_suffix(".TSV")
    csv.rename(tsv)
    assert are_the_bears(listing(tsv))


def test_what_the_user_says_is_taken(table: Table) -> None:
    csv = table(
        "path,file,label,breed,where,split",
        lambda kind, number, count: f"{kind}/0.jpg,{kind}/{number}.jpg,x,{kind},{'val' if number else 'train'},?",
    )
    found = listing(csv, path_column="File", label_column="breed", split_column="where")
    assert are_the_bears(found)
    assert all(part == ("train" if "/0" in name else "valid") for name, part in parts(found).items())
    assert "bears.csv: pictures from file, labels from breed, the split from where" in found.said[0]
    for option in ("path_column", "label_column", "split_column"):
        expected = f"{option}: there is no column 'lable' in {csv}; did you mean 'label'?"
        given = {"path_column": "file", "split_column": "where", option: "lable"}
        assert message(csv, **given) == expected


@pytest.mark.parametrize(
    ("header", "row", "among"),
    [
        ("image,breed,place", "{kind}/{number}.jpg,{kind},{odd}w", "one of breed, place"),
        ("image,sets,width", "{kind}/{number}.jpg,1.5,640", "one of sets"),
        ("image,width", "{kind}/{number}.jpg,640", "there is image, width"),
        ("image_id,dx,dx_type,sex", "{kind}/{number},{kind},histo,m", "one of dx, dx_type, sex"),
        ("image,genus_class,species_class", "{kind}/{number}.jpg,a{odd},{kind}", "one of genus_class, species_class"),
    ],
)
def test_labels_are_not_guessed(table: Table, header: str, row: str, among: str) -> None:
    csv = table(header, lambda kind, number, count: row.format(kind=kind, number=number, odd=count % 2))
    expected = f"{csv}: expected a column label or class; say which it is with label_column: {among}"
    assert message(csv) == expected


def test_columns_with_spaces_and_columns_of_nothing_but_1(table: Table) -> None:
    csv = table(
        " path , black, grizzly ,teddy, total", lambda kind, number, count: f"{kind}/{number}.jpg,{ones(kind)},1"
    )
    found = listing(csv)
    assert are_the_bears(found)
    assert found.said == [f"{csv}: pictures from path, labels from black, grizzly, teddy"]
    csv.write_text(csv.read_text().replace("total", "teddy"))
    assert message(csv) == f"{csv}: two columns are called 'teddy'; rename one"


@pytest.mark.parametrize("start", [b"PK\3\4\0\0", "path,label\n".encode("utf-16")])
def test_what_is_no_text(files: Callable[..., Path], start: bytes) -> None:
    csv = files("a.jpg") / "x.csv"
    csv.write_bytes(start + bytes(100))
    assert message(csv) == f"{csv}: is no CSV file: it is not text in UTF-8"


def test_labels_by_a_rule_where_the_csv_has_but_the_split(table: Table) -> None:
    csv = table("path,set", lambda kind, number, count: f"{kind}/{number}.jpg,{'test' if number else 'train'}")
    csv.write_text(csv.read_text().replace("/1.jpg,test", "/1.jpg,valid"))
    found = listing(csv, label="^([a-z]+)/")
    assert are_the_bears(found)
    assert set(parts(found).values()) == {"train", "valid", "test"}
    assert found.said == [f"{csv}: pictures from path, labels by the rule, the split from set"]
    csv.write_text("\n".join(line.split(",")[0] for line in csv.read_text().splitlines()))
    assert are_the_bears(listing(csv, label=lambda path: path.parent.name))


# --- The split ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "cells", "expected"),
    [
        ("split", "train Train val TEST", "train train valid test"),
        ("Subset", "training training validation testing", "train train valid test"),
        ("set", " train VALID test", "train train valid test"),
        ("partition", "test train train valid", "test train train valid"),
        ("fold", "train train valid valid", "train train valid valid"),
        ("is_valid", "1.0 0.0 nan 0.0", "valid train train train"),
        ("is_valid", "1  0 ", "valid train train train"),
        ("is_valid", "True False FALSE no", "valid train train train"),
        ("valid", "y n N Y", "valid train train valid"),
        ("Is Validation", "1 0 0 1", "valid train train valid"),
        ("is_valid,is_test", "1,0 0,1 0,0 0,0", "valid test train train"),
        ("is_valid,is_test", "1,1 0,0 1,0 0,", "test train valid train"),
        ("train,val,test", "1,0,0 0,1,0 0,0,1 1,0,0", "train valid test train"),
        ("is_training_image", "1 0 1 1", "train valid train train"),
        ("split,is_valid", "train,1 train,0 test,0 test,1", "valid train test test"),
    ],
)
def test_a_column_of_the_split(table: Table, header: str, cells: str, expected: str) -> None:
    each = cells.split(" ")
    csv = table(f"path,label,{header}", lambda kind, number, count: f"{kind}/{number}.jpg,{kind},{each[number]}")
    found = listing(csv, valid_pct=0.9)
    assert are_the_bears(found)
    assert parts(found) == {f"{kind}/{number}.jpg": expected.split()[number] for kind, number in BEARS}
    assert found.said[0].endswith(f"labels from label, the split from {header.replace(',', ', ')}")


def test_validation_is_drawn_where_the_split_has_none(table: Table) -> None:
    csv = table(
        "path,label,split",
        lambda kind, number, count: f"{kind}/{number}.jpg,{kind},{'test' if number == 3 else 'train'}",
    )
    found = listing(csv)
    assert {name for name, part in parts(found).items() if part == "test"} == {f"{kind}/3.jpg" for kind, _ in BEARS}
    drawn = sum(part == "valid" for part in parts(found).values())
    assert drawn
    assert found.said[1] == f"{csv}: {drawn} of 9 training pictures are drawn for validation"


def test_a_fold_that_is_a_number_is_not_taken_and_said(table: Table) -> None:
    csv = table("path,label,fold", lambda kind, number, count: f"{kind}/{number}.jpg,{kind},{number}")
    found = listing(csv)
    assert are_the_bears(found)
    assert found.said[1] == "column fold is not taken for a split: expected train, valid, test, got '0'"


@pytest.mark.parametrize("odd", ["dev", "2"])
def test_a_split_of_other_words_is_refused(table: Table, odd: str) -> None:
    csv = table(
        "path,label,split", lambda kind, number, count: f"{kind}/{number}.jpg,{kind},{odd if number == 2 else 'train'}"
    )
    assert message(csv) == (
        f"{csv}: row 4: expected train, valid or test in column 'split', got {odd!r}; split_column='' if it is no split"
    )
    assert are_the_bears(listing(csv, split_column=""))


def test_the_test_may_be_without_labels_and_have_others(table: Table) -> None:
    csv = table(
        "path,label,set",
        lambda kind, number, count: (
            f"{kind}/{number}.jpg,{('', 'polar', kind, kind)[number]},{'train' if number > 1 else 'test'}"
        ),
    )
    found = listing(csv)
    assert found.classes == ["black", "grizzly", "teddy"]
    assert len(found.names) == 6
    assert found.said[1:3] == [
        "passed over: 3 test pictures without a label, as black/0.jpg",
        "passed over: 3 test pictures of classes that no other picture has: polar",
    ]


# --- Several labels -------------------------------------------------------------------------------------------------


def ones(kind: str, *more: int) -> str:
    return ",".join(str(int(each)) for each in (*(kind == each for each in ("black", "grizzly", "teddy")), *more))


def test_columns_of_0_and_1_with_a_single_1_are_classes(table: Table) -> None:
    csv = table("path,black,grizzly,teddy", lambda kind, number, count: f"{kind}/{number}.jpg,{ones(kind)}")
    found = listing(csv)
    assert are_the_bears(found)
    assert found.said == [f"{csv}: pictures from path, labels from black, grizzly, teddy"]
    csv.write_text(csv.read_text().replace(",1", ",1.0").replace(",0", ",0.0"))
    assert are_the_bears(listing(csv))


@pytest.mark.parametrize(("yes", "no"), [("1", "0"), ("1.0", "0.0"), ("1", ""), ("1", "-1"), ("True", "False")])
def test_columns_of_0_and_1_with_several_are_several_labels(table: Table, yes: str, no: str) -> None:
    csv = table(
        "path,black,grizzly,teddy,young",
        lambda kind, number, count: (
            f"{kind}/{number}.jpg," + ones(kind, number == 1).replace("1", "Y").replace("0", no).replace("Y", yes)
        ),
    )
    found = listing(csv)
    assert found.multi_label
    assert found.labels.dtype == np.float32
    assert set(np.unique(found.labels)) == {0, 1}
    assert labels(found) == {
        f"{kind}/{number}.jpg": {kind} | ({"young"} if number == 1 else set()) for kind, number in BEARS
    }
    words = "black, grizzly, teddy, young, several each: row 3 has black, young"
    assert found.said == [f"{csv}: pictures from path, labels from {words}"]
    assert are_the_bears(listing(csv, label_column=["teddy", "black", "grizzly"]))


def test_a_picture_may_have_no_label_among_several(table: Table) -> None:
    csv = table(
        "path,black,grizzly,teddy",
        lambda kind, number, count: f"{kind}/{number}.jpg,{ones(kind if count != 5 else '')}",
    )
    found = listing(csv)
    assert found.multi_label
    assert labels(found)["grizzly/1.jpg"] == set()
    assert found.said[0].endswith("several each: row 7 has none")


def test_columns_that_the_user_names_hold_0_and_1(table: Table) -> None:
    csv = table("path,a,b,label", lambda kind, number, count: f"{kind}/{number}.jpg,{count % 2},{number},{kind}")
    assert message(csv, label_column=("a", "b")) == (
        f"label_column: expected 1 or 0 in each of several columns, got '2' in 'b' of {csv}"
    )


PLANET = (
    "clear primary/clear primary water/cloudy/partly_cloudy primary/clear water/haze primary/haze/clear primary road/"
    "agriculture clear primary road/cloudy/clear primary/haze primary water"
).split("/")


@pytest.mark.parametrize("delim", [" ", "|", ";", ", "])
def test_several_labels_in_a_cell_are_asked_for(table: Table, delim: str) -> None:
    csv = table("path,tags", lambda kind, number, count: f'{kind}/{number}.jpg,"{PLANET[count].replace(" ", delim)}"')
    example = f"clear{delim}primary"
    assert message(csv).startswith(
        f"{csv}: column 'tags' looks as if its cells held several labels, as {example!r}; give label_delim="
        f"{delim.strip() or ' '!r} if they do, label_delim='' if each is one label"
    )
    found = listing(csv, label_delim=delim.strip() or delim)
    assert found.multi_label
    assert labels(found) == {
        f"{kind}/{number}.jpg": set(PLANET[count].split()) for count, (kind, number) in enumerate(BEARS)
    }


@pytest.mark.parametrize("cell", ["['{kind}', 'n{number}']", '[""{kind}"", ""n{number}""]'])
def test_lists_in_brackets_are_several_labels_too(table: Table, cell: str) -> None:
    csv = table(
        "path,labels", lambda kind, number, count: f'{kind}/{number}.jpg,"{cell.format(kind=kind, number=number)}"'
    )
    assert "give label_delim=',' if they do" in message(csv)
    assert labels(listing(csv, label_delim=",")) == {
        f"{kind}/{number}.jpg": {kind, f"n{number}"} for kind, number in BEARS
    }


def test_test_pictures_that_all_lack_their_labels_are_passed_over(table: Table) -> None:
    csv = table(
        "path,tags,split",
        lambda kind, number, count: f"{kind}/{number}.jpg,{kind} x,train" if number else f"{kind}/{number}.jpg,,test",
    )
    found = listing(csv, label_delim=" ")
    assert len(found.names) == 9
    assert "passed over: 3 test pictures without a label, as black/0.jpg" in found.said
    # Where some have labels, those without have none.
    csv.write_text(csv.read_text().replace("black/0.jpg,,", "black/0.jpg,x,"))
    found = listing(csv, label_delim=" ")
    assert [labels(found)[f"{kind}/0.jpg"] for kind in ("black", "teddy")] == [{"x"}, set()]


def test_a_cell_may_be_one_label_whatever_it_looks_like(table: Table) -> None:
    csv = table(
        "path,kind",
        lambda kind, number, count: f"{kind}/{number}.jpg,{('red', 'blue')[count % 2]} {('car', 'bus')[count // 6]}",
    )
    assert "looks as if" in message(csv)
    assert listing(csv, label_delim="").classes == ["blue bus", "blue car", "red bus", "red car"]


@pytest.mark.parametrize("words", ["american {kind} bear", "{kind}, Ursus", "great {kind}", "a {kind}"])
def test_names_of_several_words_are_one_label(table: Table, words: str) -> None:
    csv = table("path,breed", lambda kind, number, count: f'{kind}/{number}.jpg,"{words.format(kind=kind)}"')
    assert listing(csv).classes == sorted(words.format(kind=kind) for kind in ("black", "grizzly", "teddy"))


def test_classes_that_are_numbers(table: Table) -> None:
    csv = table("path,age,digit", lambda kind, number, count: f"{kind}/{number}.jpg,{count}.5,{number % 2}")
    assert listing(csv).classes == ["0", "1"]


# --- Rows -----------------------------------------------------------------------------------------------------------


def rows_more(csv: Path, *rows: str) -> Path:
    csv.write_text(csv.read_text() + "".join(f"{row}\n" for row in rows))
    return csv


def test_the_same_row_twice_is_one_picture(table: Table) -> None:
    csv = table("path,label", lambda kind, number, count: f"{kind}/{number}.jpg,{kind}")
    found = listing(rows_more(csv, "black/0.jpg,black", "./black/1.jpg,black", "black\\2.jpg,black"))
    assert are_the_bears(found)
    assert found.said[1] == "passed over: 3 rows that repeat another"


@pytest.mark.parametrize(
    ("header", "row", "last", "options", "expected"),
    [
        ("path,label", "{kind}", "teddy", {}, "as 'black' in row 2 and as 'teddy' in row 14"),
        ("path,label,split", "{kind},train", "black,test", {}, "as 'train' in row 2 and as 'test' in row 14"),
        (
            "path,tags",
            "{kind} x",
            "black y",
            {"label_delim": " "},
            "as 'black, x' in row 2 and as 'black, y' in row 14",
        ),
    ],
)
def test_rows_that_differ(
    table: Table, header: str, row: str, last: str, options: dict[str, Any], expected: str
) -> None:
    csv = table(header, lambda kind, number, count: f"{kind}/{number}.jpg,{row.format(kind=kind)}")
    said = message(rows_more(csv, f"black/0.jpg,{last}"), **options)
    assert said == f"{csv}: row 14: black/0.jpg is there twice, {expected}; remove one of the rows"


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (",black", "row 14: expected a path in column 'path', got nothing"),
        ("black/9.jpg,black", "1 file is missing from {root}; the first is black/9.jpg in row 14"),
    ],
)
def test_rows_that_cannot_be_used(table: Table, row: str, expected: str) -> None:
    csv = rows_more(table("path,label", lambda kind, number, count: f"{kind}/{number}.jpg,{kind}"), row)
    assert message(csv) == f"{csv}: {expected.format(root=csv.parent)}"


def test_a_csv_of_another_place_says_where_its_files_are(table: Table) -> None:
    csv = table("path,label", lambda kind, number, count: f"{kind}/{number}.jpg,{kind}", "in/{kind}/{number}.jpg")
    assert message(csv) == (
        f"{csv}: 12 files are missing from {csv.parent}; the first is black/0.jpg in row 2; they are in "
        f"{csv.parent}/in: give folder='{csv.parent}/in'"
    )
    assert are_the_bears(listing(csv, folder="in"))


def test_names_that_spreadsheets_would_mind(files: Callable[..., Path]) -> None:
    names: Sequence[str] = [
        "=SUM(A1).jpg",
        "a, b.jpg",
        'q"uote.jpg',
        "bear \U0001f43b.jpg",
        "back\\slash.jpg",
        "new\nline.jpg",
    ]
    root = files(*names)
    quoted = [f'"{name.replace(chr(34), chr(34) * 2)}",{"ab"[number % 2]}' for number, name in enumerate(names)]
    (root / "x.csv").write_text("\n".join(["path,label", *quoted]))
    assert labels(listing(root / "x.csv")) == {name: {"ab"[number % 2]} for number, name in enumerate(names)}
