"""What is said on standard error: the essentials in columns, and no character that steers a terminal."""

import io
import re
import sys
from pathlib import Path

import pytest

from tl_report.console import say_epoch, say_finished, say_started
from tlcore import EpochFinished, Problem, RunFinished, RunStarted

HOSTILE = "cars\x1b[31m[bold]\x9b2J\u202e:smile:\r\x07"
RECIPE = {"name": "cars", "task": {"name": "vision/image-classification"}, "backbone": {"name": "vision/vgg16"},
          "adapter": {"name": "adapters/feature-extraction"}, "evaluate": {"report": "none"}}  # fmt: skip
FOLDER = Path("runs/my cars")


def scores(word="sedan", **changes):
    return {
        "n": 30,
        "loss": 0.5,
        "accuracy": 0.8,
        "macro_f1": 0.79,
        "majority": {"class": word, "macro_f1": 0.2},
    } | changes


def whole_run(word="cars", epochs=12):
    recipe = RECIPE | {"name": word}
    say_started(RunStarted(FOLDER, recipe, {"train": 1400, "validation": 30, "test": 30}, (f"a\nnote on {word}",)))
    history = []
    for epoch in range(1, epochs + 1):
        record = {"epoch": epoch, "train": {"loss": 12.5 / epoch}, "validation": scores(word), "lr": 0.1,
                  "seconds": 0.4 * epoch**3, "best": epoch == 3}  # fmt: skip
        history.append(record)
        say_epoch(EpochFinished(FOLDER, recipe, epoch, epochs, record))
    metrics = {"test": scores(word), "validation": scores(), "best_epoch": 3, "selection": {"metric": "macro_f1"}}
    problems = (Problem("x", "bad"), Problem("y", "odd", skipped=False))
    finished = RunFinished(FOLDER, recipe, metrics, history, {}, {}, problems, (), ())
    say_finished(finished, FOLDER / "report.html")


@pytest.fixture
def terminal(monkeypatch):
    """Return a function that makes standard error a terminal of so many columns and returns what is written to it."""
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)

    def made(columns):
        class Terminal(io.StringIO):
            def isatty(self):
                return True

        screen = Terminal()
        monkeypatch.setattr(sys, "stderr", screen)
        monkeypatch.setenv("COLUMNS", str(columns))
        monkeypatch.setenv("TERM", "xterm-256color")
        return screen

    return made


def without_colour(text):
    return re.sub(r"\x1b\[[\d;]*m", "", text)


def test_a_run_is_told_on_standard_error_only(capsys):
    whole_run()
    out, err = capsys.readouterr()
    assert out == ""
    for said in (
        "cars: image-classification · vgg16 · feature-extraction", "1,400 train", r"note        a\nnote on cars",
        "epoch  1/12", "macro F1 0.790 on 30 test examples; always guessing “cars” gives 0.200",
        "accuracy 0.800", "best epoch  3 of 12", "1 example, listed in runs/my cars/problems.jsonl",
        "1 remark on the data, listed in runs/my cars/problems.jsonl",
        "report      runs/my cars/report.html", "tl predict 'runs/my cars' FILES",
    ):  # fmt: skip
        assert said in err, said


def test_nothing_that_data_brought_steers_a_terminal(capsys, terminal):
    whole_run(HOSTILE)
    piped = capsys.readouterr().err
    screen = terminal(80)
    whole_run(HOSTILE)
    for text in (piped, without_colour(screen.getvalue())):
        assert all(character.isprintable() or character == "\n" for character in text)
        assert r"cars\x1b[31m[bold]\x9b2J\u202e:smile:\r\x07" in text.replace("\n", "")


def test_epochs_stand_in_columns(capsys):
    whole_run()
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("  epoch")]
    assert len(lines) == 12
    for word in ("loss", "val loss", "accuracy", "macro F1"):
        assert len({line.index(word) for line in lines}) == 1, word
    assert len({len(line.removesuffix("  * best")) for line in lines}) == 1
    assert [line.endswith("* best") for line in lines].index(True) == 2


def test_a_pipe_gets_no_colour_and_no_broken_path(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    deep = Path("runs") / ("deep-folder/" * 12)
    say_started(RunStarted(deep, RECIPE, {"train": 1}, ()))
    assert f"{deep}\n" in capsys.readouterr().err


@pytest.mark.parametrize("columns", [40, 60, 80, 200])
def test_a_line_of_an_epoch_fits_the_terminal_and_keeps_the_score_that_counts(terminal, columns):
    screen = terminal(columns)
    whole_run()
    lines = [line for line in without_colour(screen.getvalue()).splitlines() if line.startswith("  epoch")]
    assert len(lines) == 12
    assert max(map(len, lines)) <= columns
    assert all("macro F1  0.790" in line for line in lines)
    assert all(("  loss" in line) == (columns >= 80) for line in lines)


def test_no_colour_is_respected(terminal, monkeypatch):
    screen = terminal(80)
    whole_run(epochs=1)
    assert "\x1b[1;32m" in screen.getvalue()
    monkeypatch.setenv("NO_COLOR", "1")
    screen = terminal(80)
    whole_run(epochs=1)
    assert not re.search(r"\x1b\[[\d;]*3\dm", screen.getvalue())


def test_a_task_of_another_kind_is_told_too(capsys):
    values = {"n": 9, "loss": 0.5, "mae": 0.1}
    record = {"epoch": 1, "train": {"loss": 1.0}, "validation": values, "lr": 0.1, "seconds": 1.0, "best": True}
    say_epoch(EpochFinished(FOLDER, RECIPE, 1, 1, record))
    metrics = {"test": values, "validation": values, "best_epoch": 1,
               "selection": {"metric": "mae", "higher_is_better": False}}  # fmt: skip
    say_finished(RunFinished(FOLDER, RECIPE, metrics, (record,), {}, {}, (), (), ()), None)
    err = capsys.readouterr().err
    assert "mean absolute error  0.100" in err
    assert "mean absolute error 0.100 on 9 test examples (lower is better)" in err
    assert "report" not in err
