"""What is said on standard error: the essentials, and no character that steers a terminal."""

from pathlib import Path

from tl_report.console import say_epoch, say_finished, say_started
from tlcore import EpochFinished, Problem, RunFinished, RunStarted

RECIPE = {"name": "cars\x1b[31m", "task": {"name": "vision/image-classification"}, "backbone": {"name": "vision/vgg16"},
          "adapter": {"name": "adapters/feature-extraction"}, "evaluate": {"report": "none"}}  # fmt: skip
SCORES = {"n": 30, "loss": 0.5, "accuracy": 0.8, "macro_f1": 0.79, "majority": {"class": "a\rb", "macro_f1": 0.2}}


def test_a_run_is_told_on_standard_error_only(capsys):
    say_started(RunStarted(Path("runs/x"), RECIPE, {"train": 1400, "validation": 30, "test": 30}, ("a\nnote\x07",)))
    record = {"epoch": 1, "train": {"loss": 0.5}, "validation": SCORES, "lr": 0.1, "seconds": 1.0, "best": True}
    say_epoch(EpochFinished(Path("runs/x"), RECIPE, 1, 25, record))
    metrics = {"test": SCORES, "validation": SCORES, "best_epoch": 3, "selection": {"metric": "macro_f1"}}
    problems = (Problem("x", "bad"), Problem("y", "odd", skipped=False))
    say_finished(RunFinished(Path("runs/x"), RECIPE, metrics, (), {}, {}, problems, (), ()), Path("runs/x/report.html"))
    out, err = capsys.readouterr()
    assert out == ""
    assert all(character.isprintable() or character == "\n" for character in err)
    for said in ("1,400 train", "epoch  1/25", "macro F1 0.790", "* best so far", "always guessing", "best epoch 3",
                 "1 examples", "report    runs/x/report.html", "tl predict runs/x FILES", r"a\nnote\x07"):  # fmt: skip
        assert said in err, said
