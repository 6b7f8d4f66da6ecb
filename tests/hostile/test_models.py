"""Hostile models that look like those of a run: nothing in them is executed, and what does not fit is refused."""

from pathlib import Path

import pytest

from tests.support.hostile import (
    DEEP,
    GONE,
    NESTED,
    PICKLED,
    PIPE,
    ZEROS,
    accepted,
    edit,
    predict,
    put,
    refused,
    seal,
    template,
)

pytestmark = pytest.mark.slow


def model(files, *, sealed=True):
    """Return a builder: predict with a model in which some files are replaced; its manifest fits if it is sealed."""

    def build(work):
        run = work.copy("run", {f"model/{name}": content for name, content in files.items()})
        if sealed:
            seal(run / "model")
        return predict(work, run)

    return build


def manifest(**changes):
    return model({"manifest.json": edit(**changes)}, sealed=False)


def artifact(**changes):
    return model({"artifact.json": edit(**changes)})


def network(**changes):
    return model({"backbone/bert.json": edit(**changes)})


def infinite_size(path):
    put(path, path.read_text().replace('"bytes": ', '"bytes": 1e999, "was": ', 1))


LARGE = {"config__hidden_size": 16_384, "config__num_attention_heads": 16, "config__vocab_size": 2_000_000}
LORA = {"name": "lora", "options": {"rank": 10**6}}
FINE_TUNING = {"name": "fine-tuning", "options": {"layers": 10**9}}
FORMAT_3 = "written by tlcore 0.1.0 (format 3); this version reads format 4"
CASES = {
    "good": accepted(model({}, sealed=False)),
    # manifest.json
    "manifest of a parent folder": refused(
        manifest(**{"files__../../../escaped": {"bytes": 0, "sha256": "0" * 64}}), "refused: "
    ),
    "nested manifest": refused(model({"manifest.json": "[" * 200_000}, sealed=False), "manifest.json"),
    "manifest of a number": refused(manifest(**{"files__artifact.json": 5}), "manifest.json"),
    "manifest that is a pipe": refused(model({"manifest.json": PIPE}, sealed=False), "manifest.json"),
    "manifest of a NUL": refused(manifest(**{"files__a\0b": {"bytes": 1, "sha256": ""}}), "manifest.json"),
    "manifest with infinity": refused(model({"manifest.json": infinite_size}, sealed=False)),
    "empty manifest": refused(manifest(files={}), "does not list"),
    "pickle outside the manifest": refused(model({"custom_checkpoint_0.pkl": PICKLED}, sealed=False), "does not list"),
    "link to /dev/zero": refused(model({"model.safetensors": ZEROS}, sealed=False)),
    "circle of links": accepted(model({"a": Path("..")}, sealed=False)),
    # files
    "tensors that are a pickle": refused(model({"model.safetensors": PICKLED}), "model.safetensors"),
    "nested description": refused(model({"artifact.json": NESTED}), "artifact.json"),
    "nested network": refused(model({"backbone/bert.json": NESTED}), "bert.json"),
    "tokenizer that is a pickle": refused(model({"backbone/tokenizer.json": PICKLED}), "tokenizer.json cannot be read"),
    "special tokens outside the vocabulary": refused(
        model({"backbone/tokenizer.json": edit(post_processor=template([999_999], [999_999]))})
    ),
    "run that is a pickle": refused(
        lambda work: predict(work, work.put("run.pkl", PICKLED)), "there is no model at", 2
    ),
    # artifact.json
    "older format": refused(model({"artifact.json": '{"format": 3, "recipe": [1]}'}), FORMAT_3),
    "format that is a list": refused(artifact(format=[[[1]]], tlcore={"a": 1}), "format [[["),
    "format of 1 MB": refused(artifact(format=lambda _: "9" * 10**6)),
    "backbone that is a list": refused(artifact(backbone=[1]), "no valid 'backbone'"),
    "backbone without options": refused(artifact(backbone__options=GONE), "no valid 'backbone'"),
    "empty backbone": refused(artifact(backbone={})),
    "backbone of another kind": refused(artifact(backbone__name="vision/resnet18")),
    "backbone of an absent plugin": refused(artifact(backbone__name="os/system"), code=8),
    "backbone with control characters": refused(artifact(backbone__name="\x1b[2J../../x"), code=8),
    "backbone whose name is a table": refused(artifact(backbone__name={"a": 1})),
    "unknown option": refused(artifact(backbone__options__evil="os.system")),
    "deep option": refused(artifact(backbone__options__pool=DEEP)),
    "unknown precision": refused(artifact(precision="fp7"), "no valid 'precision'"),
    "precision with control characters": refused(artifact(precision="\x1b[2J")),
    "other precision": refused(artifact(precision="fp16", precision_is_auto=False), code=2),
    "other inputs": refused(artifact(inputs="json"), code=2),
    "huge rank": refused(artifact(adapter=LORA)),
    "unknown option of an adapter": refused(artifact(adapter=FINE_TUNING), code=2),
    "invalid merged stages": refused(artifact(merged=[["a"], {"b": 1}])),
    "no task": refused(artifact(task_state=GONE), "no valid 'task_state'"),
    "deep counts": refused(artifact(task_state__counts=DEEP)),
    "counts that are a number": refused(artifact(task_state__counts=5)),
    "classes that are null": refused(artifact(task_state__classes=None)),
    "classes that are tables": refused(artifact(task_state__classes=[{"a": 1}, {"b": 2}])),
    "classes that are a text": refused(artifact(task_state__classes="abc")),
    "no classes": refused(artifact(task_state__classes=[])),
    "a million classes": refused(artifact(task_state__classes=lambda _: [str(n) for n in range(10**6)])),
    "self-test of huge numbers": refused(artifact(self_test__features=[[10**400] * 16] * 2)),
    "self-test of a table": refused(artifact(self_test__features={"a": 1})),
    "ragged self-test": refused(artifact(self_test__outputs=[[1], [1, 2]])),
    "empty self-test": refused(artifact(self_test__outputs=[], self_test__features=[])),
    "self-test of folders": refused(artifact(self_test__inputs=[{"file": ".."}, {"file": ""}])),
    "self-test of a NUL": refused(artifact(self_test__inputs=[{"file": "a\0b"}])),
    "deep self-test": refused(artifact(self_test__inputs=[{"value": DEEP}])),
    # backbone/bert.json
    "network larger than memory": refused(network(**LARGE)),
    "prefix of 5 MB": refused(network(prefix=lambda _: "good " * 10**6)),
    "pooling that is a list": refused(network(pool=["x"])),
    "huge maximum length": accepted(network(max_length=10**12)),
    "negative maximum length": refused(network(max_length=-5)),
    "maximum length that is a text": refused(network(max_length="5", prefix=7)),
}


@pytest.mark.parametrize("case", CASES)
def test_hostile_model_executes_nothing(case, check):
    check(CASES[case])
