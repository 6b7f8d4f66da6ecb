"""Trackers hear of every epoch, and none of them can end a run."""

import pytest

from tlcore.training.tracking import Trackers


class Recorder:
    """A tracker that fails where it is told to."""

    def __init__(self, fails=()):
        self.fails = fails
        self.heard = []

    def __getattr__(self, name):
        def call(*given, **named):
            self.heard.append((name, given, named))
            if name in self.fails:
                raise SystemExit("no network") if name == "finish" else ConnectionError("no network\nat all")

        return call


def trackers(monkeypatch, tmp_path, recorder):
    monkeypatch.setattr("accelerate.tracking.TensorBoardTracker", lambda *given, **named: recorder)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    warned = []
    one = Trackers(
        ["tensorboard"], project="a", folder=tmp_path, recipe={"train": {"lr": 0.1, "track": ()}}, warn=warned.append
    )
    return one, warned


def test_a_tracker_hears_the_recipe_and_every_epoch(monkeypatch, tmp_path):
    recorder = Recorder()
    one, warned = trackers(monkeypatch, tmp_path, recorder)
    one.log({"loss": 0.5}, 1)
    one.finish()
    assert [name for name, *_ in recorder.heard] == ["start", "store_init_configuration", "log", "finish"]
    assert recorder.heard[1][1] == ({"train.lr": 0.1, "train.track": "()"},)
    assert recorder.heard[2][2] == {"step": 1}
    assert not warned


@pytest.mark.parametrize("where", ["start", "store_init_configuration", "log", "finish"])
def test_a_tracker_that_fails_is_muted_and_named(monkeypatch, tmp_path, where):
    recorder = Recorder(fails=(where,))
    one, warned = trackers(monkeypatch, tmp_path, recorder)
    one.log({"loss": 0.5}, 1)
    one.log({"loss": 0.4}, 2)
    one.finish()
    assert len(warned) == 1
    assert "tensorboard is muted" in warned[0]
    assert "no network" in warned[0]
    assert "\n" not in warned[0]
    assert [name for name, *_ in recorder.heard].count(where) == 1


def test_one_that_is_not_installed_says_how_to_install_it(monkeypatch, tmp_path):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    warned = []
    Trackers(["mlflow"], project="a", folder=tmp_path, recipe={}, warn=warned.append).log({"loss": 1.0}, 1)
    assert 'pip install "tlcore[mlflow]"' in warned[0]


def test_tensorboard_itself_writes_its_events(tmp_path):
    pytest.importorskip("tensorboard")
    warned = []
    one = Trackers(["tensorboard"], project="a", folder=tmp_path, recipe={"seed": 1}, warn=warned.append)
    one.log({"train/loss": 0.5}, 1)
    one.finish()
    assert not warned
    assert any(path.name.startswith("events.out") for path in tmp_path.rglob("*"))
