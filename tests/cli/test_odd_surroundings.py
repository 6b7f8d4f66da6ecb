"""Commands where something around them is odd: no room for a folder, no stream to speak to, too many processes."""

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from tlcore.cli import app
from tlcore.errors import nearest_file

ROWS = "".join(f"a {'fine' if n % 2 else 'dull'} day {n},{n % 2}\n" for n in range(40))
RECIPE = """\
task: text-classification
data: {source: table, path: reviews.csv, label: stars}
backbone: {name: bert, weights: ./tiny}
adapter: feature-extraction
train: {epochs: 1, precision: fp32}
evaluate: {report: none, resamples: 0, probe: false}
"""


@pytest.fixture
def tl(tmp_path, monkeypatch):
    """Return a function that runs `tl` in a folder with a recipe of a tiny BERT."""
    from tl_text.checkpoint import write_tiny

    monkeypatch.chdir(tmp_path)
    write_tiny(tmp_path / "tiny")
    (tmp_path / "reviews.csv").write_text(f"text,stars\n{ROWS}")
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    return lambda *words: CliRunner().invoke(app, words, prog_name="tl")


@pytest.mark.parametrize("out", ["reviews.csv/run", "/proc/run"])
def test_a_run_folder_that_cannot_be_made_is_told(tl, out):
    done = tl("run", "recipe.yaml", "--out", out)
    assert done.exit_code == 2
    assert done.stderr.splitlines()[-3] == "error: the run's folder cannot be made"
    assert out in done.stderr
    assert done.stderr.splitlines()[-1] == "hint: name one that can be written to: --out DIR"


@pytest.mark.parametrize("store", ["reviews.csv", "/proc/store"])
def test_a_run_goes_on_where_the_store_cannot_be_written(tl, tmp_path, monkeypatch, store):
    monkeypatch.setenv("TL_CACHE", store)
    done = tl("run", "recipe.yaml", "--out", "run")
    assert done.exit_code == 0, done.stderr
    assert "cannot be written to, so what is computed now serves this run alone" in done.stderr
    done = tl("cache", "why", "recipe.yaml")
    assert done.exit_code == 0, done.output
    assert "40 states to compute, 0 are stored" in done.stdout


@pytest.mark.parametrize("processes", ["0", "-3", "999999"])
def test_more_processes_than_the_machine_bears_are_not_started(tl, monkeypatch, processes):
    def started(*words, **given):
        pytest.fail("a process was started")

    monkeypatch.setattr("tlcore.distributed.launcher.subprocess.Popen", started)
    done = tl("run", "recipe.yaml", "--processes", processes)
    assert done.exit_code == 2
    assert f"--processes is {processes}" in done.stderr


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_a_stream_that_is_closed_is_done_without(closed):
    done = subprocess.run(
        ["/bin/sh", "-c", f'"$0" -m tlcore.cli list backbones {closed}', sys.executable], capture_output=True, text=True
    )
    assert done.returncode == 0
    assert done.stderr == ""


def test_the_file_that_was_meant_is_not_any_with_the_same_ending():
    assert nearest_file("de.yaml", ["reviews.yaml", "photos.yaml"]) is None
    assert nearest_file("review.csv", ["reviews.yaml", "reviews.csv"]) == "reviews.csv"
    assert nearest_file("reviews.yml", ["reviews.yaml", "prices.yml"]) == "reviews.yaml"
