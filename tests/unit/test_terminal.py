from __future__ import annotations

import io
from collections.abc import Iterator

import pytest
import rich
from rich.console import Console

from taskdepth import terminal


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    yield
    terminal.set_up("normal")


@pytest.mark.parametrize(
    ("output", "is_heard"), [("normal", True), ("quiet", False), ("json", False)]
)
def test_only_normal_output_talks_and_never_on_stdout(
    output: str, is_heard: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    console = terminal.set_up(output)
    console.print("hello")
    for _ in terminal.tracked([("rte", 1), ("sst2", 2)], "compare", "tasks"):
        pass
    terminal.say_results(console, "done", {"run": "/somewhere"})
    terminal.say_sentences(console, ["It is so."])
    out, err = capsys.readouterr()
    assert out == ""
    assert all(
        (word in err) == is_heard for word in ("hello", "compare", "/somewhere", "It is so.")
    )


def recorded(width: int) -> Console:
    console = Console(file=io.StringIO(), width=width, force_terminal=True, record=True)
    rich.reconfigure(file=console.file, width=width, force_terminal=True, color_system=None)
    return rich.get_console()


@pytest.mark.parametrize("width", [80, 120])
def test_a_bar_fits_and_tells_task_rate_and_time(width: int) -> None:
    console = recorded(width)
    with terminal.progress("prompts") as bar:
        task = bar.add_task("extract", total=10_000, what="demo_[red]reading_comprehension_of_all")
        bar.update(task, completed=5_000, tokens=1_000_000)
        bar.tasks[0].start_time = bar.get_time() - 100
        bar.refresh()
        line = console.render_lines(bar.get_renderable(), pad=False)[0]
    shown = "".join(segment.text for segment in line)
    assert len(shown) <= width
    assert "5000/10000 prompts" in shown.replace(" 5000", "5000")
    assert "10k tok/s" in shown
    assert "demo_[" in shown, "names of tasks are not markup"


def test_paths_are_not_cut(capsys: pytest.CaptureFixture[str]) -> None:
    path = "/a/very/long/path" * 12
    terminal.say_results(terminal.set_up("normal"), "done", {"run": path})
    assert path in capsys.readouterr().err


def test_sentences_hang_under_their_bullet() -> None:
    console = recorded(30)
    terminal.say_sentences(console, ["one two three four five six seven eight"])
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert len(lines) > 1
    assert lines[0].startswith("  • one")
    assert all(line.startswith("    ") and len(line) <= 30 for line in lines[1:])
