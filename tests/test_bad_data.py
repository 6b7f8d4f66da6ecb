"""Whole runs over data that is damaged as data is in practice: clear errors, nothing lost, nothing substituted."""

import json

import pytest

import tlcore
from tlcore.plugins import PluginHost
from tlcore.registry import Registry

PICTURES = """
task: image-classification
data: {{source: folder, path: "{path}"}}
backbone: {{name: vgg16, weights: random, output: block1, size: 32}}
adapter: feature-extraction
train: {{epochs: 2}}
"""
TEXTS = """
task: text-classification
data: {{source: table, path: "{path}"}}
backbone: {{name: bert, weights: "{bert}"}}
adapter: feature-extraction
train: {{epochs: 2}}
"""


@pytest.fixture(scope="module")
def registry():
    return Registry(PluginHost(environ={"TL_PLUGINS": ""}))


@pytest.fixture
def run(registry, bad_inputs, tmp_path):
    def started(kind, case, **given):
        from tl_text.checkpoint import write_tiny

        write_tiny(tmp_path / "bert")
        path = bad_inputs / ("folders" if kind is PICTURES else "text") / case
        recipe = tmp_path / "recipe.yaml"
        recipe.write_text(kind.format(path=path, bert=tmp_path / "bert"), "utf-8")
        return tlcore.run(recipe, registry=registry, out=tmp_path / "run", **given)

    return started


def problems(result):
    return [json.loads(line) for line in (result.folder / "problems.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(
    ("kind", "case", "said"),
    [
        (PICTURES, "all_bad_class", "every training example of class"),
        (PICTURES, "test_unknown_class", "on none of the training split"),
        (PICTURES, "flat_files", "class folders"),
        (TEXTS, "one_class.csv", "at least two classes"),
        (TEXTS, "empty.parquet", ""),
        (TEXTS, "missing_label.csv", "label"),
    ],
)
def test_what_cannot_be_trained_on_ends_in_a_clear_error(run, kind, case, said):
    with pytest.raises(tlcore.DataError) as caught:
        run(kind, case)
    assert said in str(caught.value)
    assert caught.value.exit_code == 3
    assert caught.value.hint or caught.value.where


@pytest.mark.parametrize(
    ("kind", "case", "said"),
    [
        (PICTURES, "same_image_two_classes", "the same input is labelled"),
        (PICTURES, "empty_class", "empty"),
        (PICTURES, "nested", None),
        (TEXTS, "contradictions.csv", "the same input is labelled"),
        (TEXTS, "nan_text.csv", "input"),
    ],
)
def test_what_is_odd_is_used_and_said(run, kind, case, said):
    result = run(kind, case)
    reasons = [problem["reason"] for problem in problems(result)]
    assert said is None or any(said in reason for reason in reasons)
    assert 0 <= result.metrics["test"]["accuracy"] <= 1


def test_too_many_unreadable_pictures_stop_the_run_and_are_all_listed(run, tmp_path, bad_inputs):
    source = (bad_inputs / "images" / "ok.jpg").read_bytes()
    for n in range(60):
        path = tmp_path / "photos" / "ab"[n % 2] / f"{n}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        # Bytes after the end of a JPEG are ignored by decoders, so that each file is another one.
        path.write_bytes(source[:2000] if n < 12 else source + bytes([n]))
    with pytest.raises(tlcore.DataError, match="12 of 60 examples cannot be used") as caught:
        run(PICTURES, tmp_path / "photos")
    assert "--set data.max_bad=12" in caught.value.hint
    listed = [json.loads(line) for line in (tmp_path / "run" / "problems.jsonl").read_text().splitlines()]
    assert sum(problem["skipped"] for problem in listed) == 12
    assert not (tmp_path / "run" / "history.jsonl").exists()
