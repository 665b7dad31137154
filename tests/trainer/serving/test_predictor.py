"""What a loaded classifier says: as in training, and the same digits however it is asked."""

from __future__ import annotations

import csv
import io
import json
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image

from sgdsheet.errors import Error
from trainer import load
from trainer.cli import main
from trainer.serving import bundle
from trainer.serving.predictor import Predictor


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A photograph's worth of pixels, as JPEG, turned by its EXIF."""
    path = tmp_path_factory.mktemp("large") / "large.jpg"
    y, x = np.mgrid[:600, :900]
    pixels = np.stack([128 + 100 * np.sin(x / 37), 128 + 100 * np.sin(y / 23), (x + y) % 256], 2).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(path, exif=exif)
    return path


def test_validation_pictures_get_what_validation_said(trained: Any, predictor: Predictor) -> None:
    expected = trained.predictions()
    root = trained.data.listing.root
    found = predictor.predict([root / name for name in expected.names])
    assert (
        max(np.abs(each.probabilities - row).max() for each, row in zip(found, expected.probabilities, strict=True))
        < 1e-6
    )
    assert [each.label for each in found] == [expected.classes[place] for place in expected.probabilities.argmax(1)]


def test_the_same_digits_alone_among_others_and_with_other_threads(
    exported: Path, predictor: Predictor, pictures: Path, large: Path
) -> None:
    files = [*sorted(pictures.rglob("*.png"))[::6], large]
    before = torch.get_num_threads()
    alone = [predictor.predict(path).probabilities for path in files]
    backwards = [each.probabilities for each in predictor.predict(files[::-1])][::-1]
    contents = [each.probabilities for each in predictor.predict([path.read_bytes() for path in files])]
    three = load(exported, threads=3)
    torch.set_num_threads(before + 1)  # the caller's own threads make no difference, and stay as they are
    try:
        threads = [each.probabilities for each in three.predict(files)]
        assert torch.get_num_threads() == before + 1
    finally:
        torch.set_num_threads(before)
        three.close()
    for others in (backwards, contents, threads):
        assert all(np.array_equal(one, other) for one, other in zip(alone, others, strict=True))


def test_a_batch_that_is_filled_up_gives_the_same_digits(
    exported: Path, predictor: Predictor, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a GPU gets them, here on the CPU; nearly what one picture alone gets there."""
    monkeypatch.setattr("trainer.serving.predictor.BATCH", 4)
    files: list[Any] = [path.read_bytes() for path in sorted(pictures.rglob("*.png"))[::10]]
    whole: list[Any] = [each for start in (0, 4) for each in predictor._filled(files[start : start + 4])]
    for one, content in zip(whole, files, strict=False):
        alone: list[Any] = predictor._filled([content])
        assert np.array_equal(one, alone[0])
        assert np.abs(one - predictor.predict(content).probabilities).max() < 1e-5


def test_one_that_cannot_be_read(predictor: Predictor, pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_text("no picture")
    found = predictor.predict([tmp_path / "bad.png", pictures / "down/000.png", b""])
    assert [each.error for each in found] == ["not a picture", None, "the file is empty"]
    assert found[0].said() == {"name": str(tmp_path / "bad.png"), "error": "not a picture"}
    with pytest.raises(Error, match="none.png: there is no such file"):
        predictor.predict(tmp_path / "none.png")
    assert len(predictor.predict(pictures)) == 72


def test_several_labels(trained: Any, tmp_path: Path, pictures: Path) -> None:
    run = trained._run() | {"multi_label": True}
    scores = trained.scored.state_dict()
    bundle.write(tmp_path / "x.classifier", scores, run, [0.0, 1.0, 0.0])
    loaded = load(tmp_path / "x.classifier")
    found = loaded.predict(pictures / "down/000.png")
    loaded.close()
    assert sorted(found.labels) == ["across", "down"]
    assert not np.isclose(found.probabilities.sum(), 1)


# --- The command line -------------------------------------------------------------------------------------------------


def predict(exported: Path, *options: str, given: bytes = b"") -> Result:
    return CliRunner().invoke(main, ["predict", str(exported), *options], input=given, catch_exceptions=False)


def test_the_command_line_gives_the_same_digits(exported: Path, predictor: Predictor, pictures: Path) -> None:
    expected = predictor.predict(pictures / "down")
    result = predict(exported, str(pictures / "down"), "--format", "json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.output) == [each.said() for each in expected]
    rows = [*csv.DictReader(io.StringIO(predict(exported, str(pictures / "down"), "--format", "csv").output))]
    assert [(row["labels"], float(row["probability_1"])) for row in rows] == [each.top(1)[0] for each in expected]
    assert np.float32(rows[0]["probability_3"]) == expected[0].probabilities.min()


def test_what_cannot_be_read_is_a_row(exported: Path, pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "=cut.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    given = [str(tmp_path / name) for name in ("=cut.jpg", "empty", "none.png")]
    result = predict(exported, *given, str(pictures / "across/001.png"), "--top", "1")
    assert result.exit_code == 1
    lines = result.output.splitlines()
    assert [line.partition("error: ")[2] for line in lines[1:]] == [
        "it is damaged or cut off",
        "there is no picture in this folder",
        "there is no such file",
        "",
    ]
    assert len(json.loads(predict(exported, *given, "--format", "json").output)) == 3


def test_standard_input_is_a_picture_or_a_list(exported: Path, pictures: Path) -> None:
    path = pictures / "across/001.png"
    for given in (path.read_bytes(), f"\n{path}\n".encode()):
        result = predict(exported, "-", "--format", "json", given=given)
        assert result.exit_code == 0, result.output
        assert json.loads(result.output)[0]["labels"]
    result = predict(exported, "-", "--format", "json", given=b"\x89PNG\r\n\x1a\n\0")
    assert (result.exit_code, "error" in json.loads(result.output)[0]) == (1, True)


def test_export_from_the_command_line(trained: Any, tmp_path: Path) -> None:
    trained.save(tmp_path / "run")
    result = CliRunner().invoke(main, ["export", str(tmp_path / "run"), str(tmp_path / "x.classifier")])
    assert result.exit_code == 0, result.output
    assert "torchvision/squeezenet1_1, 32 pixels, 3 classes: across, diagonal, down; " in result.output
    refused = CliRunner().invoke(main, ["export", str(tmp_path), str(tmp_path / "y.classifier")])
    assert (refused.exit_code, len(refused.stderr.splitlines())) == (2, 1)
    wrong = CliRunner().invoke(main, ["predict", str(tmp_path / "run"), "x.jpg"])
    assert (wrong.exit_code, len(wrong.stderr.splitlines())) == (2, 1)


def test_urls(exported: Path, predictor: Predictor, pictures: Path) -> None:
    class Files(SimpleHTTPRequestHandler):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args, directory=str(pictures))

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Files) as server:
        threading.Thread(target=server.serve_forever).start()
        url = f"http://127.0.0.1:{server.server_port}"
        given = [f"{url}/down/000.png", str(pictures / "down/001.png"), f"{url}/none.png", f"{url}/down/"]
        refused, allowed = (
            json.loads(predict(exported, *given, "--format", "json", *more).output)
            for more in ([], ["--allow-private"])
        )
        server.shutdown()
    expected = predictor.predict([pictures / "down/000.png", pictures / "down/001.png"])
    assert allowed[:2] == [each.said() | {"name": name} for each, name in zip(expected, given, strict=False)]
    assert [each["error"][:13] for each in allowed[2:]] == ["404 File not ", "not a picture"]
    assert ["error" in each for each in refused] == [True, False, True, True]
