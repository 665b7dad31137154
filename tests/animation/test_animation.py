"""Films of the runs in workbooks."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from matplotlib.figure import Figure
from PIL import Image

import sgdsheet
from sgdsheet import Error
from sgdsheet.animation import curves, descent, film
from sgdsheet.cli import main

QUICK = {"seconds": 2, "fps": 3, "size": 320}


def pictures(path: Path) -> list[np.ndarray]:
    with Image.open(path) as found:
        return [np.asarray((found.seek(number), found.convert("RGB"))[1]) for number in range(found.n_frames)]  # type: ignore[attr-defined]


@pytest.mark.parametrize("lesson", ["small", "race"])
def test_a_lesson_moves_and_its_last_picture_stays(
    workbook: Callable[[str], Path], tmp_path: Path, lesson: str
) -> None:
    out = tmp_path / "run.gif"
    made = CliRunner().invoke(
        main, ["animate", str(workbook(lesson)), "-o", str(out), "--seconds=2", "--fps=3", "--size=320"]
    )
    assert made.exit_code == 0, made.output
    first, *_, last = pictures(out)
    assert first.shape == last.shape == (160, 320, 3)
    assert (first != last).any(2).sum() > 300
    with Image.open(out) as found:
        found.seek(found.n_frames - 1)  # type: ignore[attr-defined]
        assert found.info["duration"] == 660


def test_a_compiled_models_answers_go_to_what_is_wanted(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = torch.nn.Linear(2, 3)
    x, y = torch.tensor([[1.0, 0], [0, 1], [-1, -1]]), torch.tensor([2, 0, 1])
    optimizer = torch.optim.SGD(model.parameters(), lr=3)
    sgdsheet.compile(model, x, y, torch.nn.functional.cross_entropy, optimizer, steps=4).save(tmp_path / "m.xlsx")
    values = sgdsheet.read(tmp_path / "m.xlsx")
    assert curves._answers(values, 4) is not None
    sgdsheet.animate(tmp_path / "m.xlsx", tmp_path / "m.gif", **QUICK)
    blue = [np.abs(each - np.array([0, 114, 178])).sum(2) < 60 for each in pictures(tmp_path / "m.gif")]
    right = [each[:, 170:].sum() for each in blue]  # the bars of what is judged rightly
    assert right[-1] > right[0] + 500
    other = dict(values) | {"3/input": values["0/input"] + 1}
    assert curves._answers(other, 4) is None  # other examples: one bar is not what became of another


def test_what_explodes_is_drawn_up_to_where_it_leaves() -> None:
    x = np.linspace(0, 1, 5)
    steps = np.arange(7)
    way = np.array([1, -1, 1, -1, 1, -1, 1]) * 10.0**steps
    way[5:] = np.nan
    v = {"data_x": x, "data_y": 1 + 2 * x, "lr": np.array(9.0), "loss": way[1:]}
    for name in ("intercept", "slope"):
        v |= {name: way[:-1], f"new_{name}": way[1:]}
    surface = descent.Surface(v, [descent._run(v, "", "", "#000000")])
    assert surface.gone == [1]
    assert np.isfinite(surface.runs[0].way).all()
    assert surface.outside(1.0) == "out of the picture from step 1 on"
    assert surface.outside(0.1) == ""
    scene = descent.scene("linear_sgd", v)
    assert scene is not None
    draw = scene(figure := Figure())
    draw(1.0)
    assert "out of the picture" in figure.get_suptitle()
    draw = curves.scene("own", {"loss": np.array([1, 5, np.inf])})(figure := Figure())  # type: ignore[misc]
    draw(1.0)
    assert "no number any more from step 3 on" in figure.get_suptitle()


def test_what_was_trained_from_outside_shows_the_losses_of_its_steps(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, x, y = torch.nn.Linear(1, 1), torch.tensor([[1.0], [2]]), torch.tensor([[3.0], [5]])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    path, out = tmp_path / "m.xlsx", tmp_path / "m.gif"
    sgdsheet.compile(model, x, y, torch.nn.functional.mse_loss, optimizer).save(path)
    with pytest.raises(Error, match="no training in it to draw"):  # one step, no run
        sgdsheet.animate(path, out, **QUICK)
    sgdsheet.train(path, path, steps=20)
    sgdsheet.animate(path, out, **QUICK)
    first, *_, last = pictures(out)
    assert (first != last).any(2).sum() > 100
    draw = curves.scene("own", {"loss": np.array([9.0, 8, 7])}, [5, 3])(figure := Figure())  # type: ignore[misc]
    draw(1.0)
    assert figure.get_suptitle() == "step 2 of 2   loss 3"


def test_no_film_and_why(workbook: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, out = workbook("few"), tmp_path / "run.gif"
    out.write_text("before")
    with pytest.raises(Error, match="no training in it to draw; linear_sgd, "):
        sgdsheet.animate(path, out)
    with pytest.raises(Error, match="ends with .gif or .mp4"):
        sgdsheet.animate(path, tmp_path / "run.avi")
    with pytest.raises(Error, match="fps: expected a whole number, 2 to 50, got 0.5"):
        sgdsheet.animate(path, out, fps=0.5)  # type: ignore[arg-type]
    monkeypatch.setattr("matplotlib.animation.FFMpegWriter.isAvailable", lambda: False)
    with pytest.raises(Error, match="needs ffmpeg"):
        sgdsheet.animate(path, tmp_path / "run.mp4")
    monkeypatch.setitem(sys.modules, "matplotlib.animation", None)
    with pytest.raises(Error, match=r"pip install 'sgdsheet\[animate\]'"):
        sgdsheet.animate(path, out)

    def broken(figure: object) -> object:
        raise Error("no")

    with pytest.raises(Error):
        film.write(broken, out, 2, 2, 320)  # type: ignore[arg-type]
    assert [each.name for each in tmp_path.iterdir()] == ["run.gif"]
    assert out.read_text() == "before"
