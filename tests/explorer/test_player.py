"""The player in a page: its slider by keyboard, a pass through the steps, training in batches."""

from __future__ import annotations

from typing import Any

import pytest

HOSTILE = "<img src=x onerror=alert(1)>"
ROWS = {"what": "step", "count": 5, "sheet": "run", "rows": [[6, 7], [10, 12]], "name": "steps"}
MOUNT = """async ([play, more]) => {
    const {Player} = await import("./play.js");
    window.steps = []; window.asked = []; window.answers = []; window.wait = null;
    const element = document.createElement("div");
    root.replaceChildren(element);
    const ask = async (message) => {
        asked.push(message);
        if (message.steps === 2) await wait;
        if (asked.length === more.fails) throw new Error("there is no such step");
        return {losses: Array.from({length: message.steps}, (_, k) => 1 / (asked.length + k))};
    };
    window.player = new Player(element, play, {
        ask, onStep: (k) => steps.push(k), onAnswer: (answer) => answers.push(answer), view: () => ({sheet: "run"}),
        ...more,
    });
}"""


def mount(page: Any, play: dict[str, Any] | None = None, **more: Any) -> None:
    page.evaluate(MOUNT, [play, more])


def test_a_slider_over_the_steps(parts: Any) -> None:
    mount(parts, ROWS)
    slider = parts.get_by_role("slider", name="step")
    assert parts.locator("output").inner_text() == "step 5 of 5 · steps · row 12 of run"
    for key in ("ArrowLeft", "Home", "ArrowRight", "ArrowRight"):
        slider.press(key)
    assert parts.locator("output").inner_text() == "step 3 of 5 · steps · row 10 of run"
    assert slider.get_attribute("aria-valuetext") == "step 3 of 5"
    parts.get_by_role("button", name="step before").click()
    parts.get_by_role("button", name="next step").click()
    assert parts.evaluate("steps") == [4, 1, 2, 3, 2, 3]
    mount(parts, {"what": HOSTILE, "count": 2, "sheets": ["step 1", HOSTILE], "name": ""})
    assert parts.locator("output").inner_text() == f"{HOSTILE} 2 of 2 · sheet {HOSTILE}"
    assert parts.locator("img").count() == 0


@pytest.mark.parametrize(("count", "seconds"), [(21, 2), (401, 8)])
def test_a_pass_takes_a_tenth_of_a_second_a_step_and_eight_seconds_at_most(
    parts: Any, count: int, seconds: int
) -> None:
    parts.clock.install(time=0)
    parts.clock.pause_at(1000)
    mount(parts, {**ROWS, "count": count})
    play = parts.get_by_role("button", name="Play")
    play.click()
    parts.clock.run_for(seconds * 500)
    middle = parts.evaluate("steps.at(-1)")
    assert abs(middle - count / 2) < count / 20
    parts.get_by_role("button", name="Pause").press("Enter")
    parts.clock.run_for(1000)
    assert parts.evaluate("steps.at(-1)") == middle
    play.click()
    parts.clock.run_for(seconds * 500 + 100)
    assert parts.evaluate("steps.at(-1)") == count
    play.wait_for()
    play.click()
    assert parts.evaluate("steps.at(-1)") == 1  # from the end it begins anew


def test_nothing_runs_by_itself_for_who_wants_no_motion(parts: Any) -> None:
    parts.emulate_media(reduced_motion="reduce")
    mount(parts, ROWS)
    assert parts.get_by_role("button").all_inner_texts() == ["‹", "›"]
    assert parts.evaluate("steps") == []


def test_training_goes_on_in_batches(parts: Any) -> None:
    mount(parts, train=True)
    assert parts.get_by_role("slider").count() == 0
    field = parts.get_by_role("spinbutton", name="steps to train")
    field.fill("20")
    field.press("Enter")
    parts.get_by_text("20 of 20 steps").wait_for()
    asked = parts.evaluate("asked")
    assert sum(each["steps"] for each in asked) == 20
    assert [each["steps"] for each in asked][:2] == [1, 2]
    assert asked[0]["view"] == {"sheet": "run"}
    assert parts.evaluate("answers.length") == len(asked)
    path = parts.locator(".player-losses path[data-series]").get_attribute("d")
    assert path.count("L") == 19
    form, losses = (parts.locator(f".player-{part}").bounding_box() for part in ("train", "losses"))
    assert losses["x"] > form["x"] + form["width"]  # beside what trains: the sheet keeps its room
    assert losses["height"] < 100
    # Stopped between two batches.
    parts.evaluate("() => { asked.length = 0; wait = new Promise((done) => { window.release = done; }); }")
    parts.get_by_role("button", name="Train").click()
    parts.wait_for_function("asked.length === 2")
    parts.get_by_role("button", name="Stop").click()
    parts.evaluate("release()")
    parts.get_by_text("stopped after 3 of 20 steps, loss 0.333333").wait_for()
    parts.evaluate("player.reset()")
    assert parts.locator(".player-losses svg").count() == 0


def test_an_error_ends_training(parts: Any) -> None:
    mount(parts, train=True, fails=1)
    parts.get_by_role("button", name="Train").click()
    parts.get_by_text("there is no such step").wait_for()
    assert parts.get_by_role("button", name="Train").is_enabled()
