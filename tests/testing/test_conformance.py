"""The conformance checks pass what keeps the contracts, and each finds what breaks them."""

import dataclasses
import random
import sys
from dataclasses import dataclass, replace

import pytest
import torch
from torch import nn

import tlcore
from tlcore import testing
from tlcore.testing import ConformanceError


@dataclass(frozen=True, kw_only=True)
class Options:
    width: int = tlcore.option(3, "Width of the hidden layer.")


# --- backbones: numbers in rows of unequal length, with a mask


class Embed(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.table = nn.Embedding(10, width)

    def forward(self, state):
        return {"hidden": self.table(state["numbers"]), "mask": state["mask"]}


class Blend(nn.Module):
    """Adds the mean of a row's marked places to each of them."""

    def __init__(self, width):
        super().__init__()
        self.dense = nn.Linear(width, width)
        self.register_buffer("calls", torch.zeros(1))

    def mean(self, state):
        marked = state["mask"][:, :, None].to(state["hidden"].dtype)
        return (state["hidden"] * marked).sum(1, keepdim=True) / marked.sum(1, keepdim=True)

    def forward(self, state):
        return {"hidden": self.dense(state["hidden"]) + self.mean(state), "mask": state["mask"]}


class Rows(tlcore.Backbone):
    blend = Blend

    def __init__(self, options, saved=None):
        self.stages = {"embed": Embed(options.width), "blend": self.blend(options.width)}
        self.feature_dim = options.width
        self.preparation = {"numbers": 10}
        self.lora_targets = {"blend": ("dense",)}

    def prepare(self, examples, view=None):
        length = max(len(example.input) for example in examples)
        numbers = torch.zeros(len(examples), length, dtype=torch.int64)
        mask = torch.zeros_like(numbers)
        for n, example in enumerate(examples):
            numbers[n, : len(example.input)] = torch.tensor(example.input)
            mask[n, : len(example.input)] = 1
        return {"numbers": numbers, "mask": mask}

    def pool(self, state):
        marked = state["mask"][:, :, None].to(state["hidden"].dtype)
        return (state["hidden"] * marked).sum(1) / marked.sum(1)

    def mix(self, state, targets, generator):
        raise tlcore.UsageError("numbers cannot be mixed")

    def save(self, folder):
        (folder / "kept.txt").write_text("something")


def rows(folder):
    return [tlcore.Example(id=str(n), input=[n + m for m in range(1, 2 + n)]) for n in range(4)]


def backbone_spec(build=Rows, **changes):
    settings = {
        "name": "rows",
        "summary": "Rows of numbers.",
        "modality": "numbers",
        "options": Options,
        "build": build,
        "smoke": lambda folder: Options(width=2),
        "samples": rows,
        **changes,
    }
    return tlcore.BackboneSpec(**settings)


def blending(name, method):
    """Return a backbone whose upper stage differs in one method."""
    stage = type(name, (Blend,), {"forward": method})
    return type(name, (Rows,), {"blend": stage})


def ignore_mask(self, state):
    return {**state, "hidden": self.dense(state["hidden"]) + state["hidden"].mean(1, keepdim=True)}


def look_at_the_batch(self, state):
    return {**state, "hidden": self.dense(state["hidden"]) - state["hidden"].amax((0, 1), keepdim=True)}


def count_rows(self, state):
    return {**state, "hidden": self.dense(state["hidden"]) / len(state["hidden"])}


def drop_out(self, state):
    return {**state, "hidden": nn.functional.dropout(self.dense(state["hidden"]), 0.5)}


def count_calls(self, state):
    self.calls += 1
    return Blend.forward(self, state)


def return_a_tensor(self, state):
    return self.dense(state["hidden"])


def keep_a_plain_vector(self, state):
    return {**state, "summary": self.mean(state)[:, 0].repeat(1, 50)}


def hide_in_padding(self, state):
    hidden = state["hidden"].clone()
    hidden[:, -1] = hidden[:, 0] + 1
    return {**state, "hidden": self.dense(hidden) + hidden.mean(1, keepdim=True)}


def detach(self, state):
    return {**state, "hidden": self.dense(state["hidden"]).detach()}


def blow_up(self, state):
    return {**state, "hidden": self.dense(state["hidden"]) / 0}


class RemembersLastBatch(Rows):
    """Alone, beside others and padded the same: only who begins at the upper stage sees the difference."""

    def __init__(self, options, saved=None):
        super().__init__(options)
        embed, blend = self.stages["embed"], self.stages["blend"]
        embed.register_forward_hook(lambda stage, inputs, output: setattr(stage, "left", output["hidden"]))
        blend.register_forward_pre_hook(
            lambda stage, inputs: ({**inputs[0], "hidden": self.pair(inputs[0]["hidden"], embed.left)},)
        )

    @staticmethod
    def pair(hidden, left):
        return hidden + left if hidden.shape == left.shape else hidden


class NoStages(Rows):
    def __init__(self, options, saved=None):
        super().__init__(options)
        self.stages = {}


class StageIsFunction(Rows):
    def __init__(self, options, saved=None):
        super().__init__(options)
        self.stages = {"embed": lambda state: state}


class WrongLora(Rows):
    def __init__(self, options, saved=None):
        super().__init__(options)
        self.lora_targets = {"blend": ("attention",)}


class LoraWithoutStage(Rows):
    def __init__(self, options, saved=None):
        super().__init__(options)
        self.lora_targets = {"block": ("dense",)}


class UnwritablePreparation(Rows):
    def __init__(self, options, saved=None):
        super().__init__(options)
        self.preparation = {"numbers": torch.ones(1)}


class NoWidth(Rows):
    def __init__(self, options, saved=None):
        super().__init__(options)
        self.feature_dim = None


class WhispersPastTheState(Rows):
    """The upper stage reads what the lower one left behind, so it could not begin from stored rows."""

    def __init__(self, options, saved=None):
        super().__init__(options)
        embed, blend = self.stages["embed"], self.stages["blend"]
        embed.register_forward_hook(lambda stage, inputs, output: setattr(stage, "left", output["hidden"]))
        blend.register_forward_pre_hook(
            lambda stage, inputs: ({**inputs[0], "hidden": inputs[0]["hidden"] + embed.left.sum()},)
        )


class PoolTooWide(Rows):
    def pool(self, state):
        return super().pool(state).repeat(1, 2)


class ScaleBesideStages(Rows):
    def __init__(self, options, saved=None):
        super().__init__(options)
        self.scale = torch.rand(1) + 1

    def pool(self, state):
        return super().pool(state) * self.scale


class OtherStagesWhenSaved(Rows):
    def __init__(self, options, saved=None):
        super().__init__(replace(options, width=options.width + 1) if saved else options)


class OtherPreparationWhenSaved(Rows):
    def __init__(self, options, saved=None):
        super().__init__(options)
        self.preparation = {"numbers": 10 if saved is None else 11}


class ForgetsStageWhenSaved(Rows):
    def __init__(self, options, saved=None):
        super().__init__(options)
        if saved:
            del self.stages["blend"]


class PreparesByBatch(Rows):
    def prepare(self, examples, view=None):
        state = super().prepare(examples, view)
        return {**state, "numbers": state["numbers"] * 0 + len(examples)}


class PreparesByChance(Rows):
    def prepare(self, examples, view=None):
        state = super().prepare(examples, view)
        return {**state, "numbers": torch.randint(10, state["numbers"].shape)}


class DrawsFromGlobalGenerator(Rows):
    def prepare(self, examples, view=None):
        if view is not None:
            random.random()
        return super().prepare(examples, view)


class MarksNothing(Rows):
    def prepare(self, examples, view=None):
        state = super().prepare(examples, view)
        state["mask"][0] = 0
        return state


class MaskOfWeights(Rows):
    def prepare(self, examples, view=None):
        state = super().prepare(examples, view)
        return {**state, "mask": state["mask"] * 2}


class ForgetsAnExample(Rows):
    def prepare(self, examples, view=None):
        return super().prepare(examples[:1], view)


class MixesToAnotherCount(Rows):
    def mix(self, state, targets, generator):
        return {name: value[:1] for name, value in state.items()}, targets


BAD_BACKBONES = {
    "stage ignores the mask": (blending("A", ignore_mask), "differs when computed alone"),
    "stage looks at the batch": (blending("B", look_at_the_batch), "stage blend: .* differs when computed alone"),
    "stage counts the batch": (blending("C", count_rows), "differs when computed alone"),
    "stage is random": (blending("D", drop_out), "differs when computed a second time"),
    "stage counts calls": (blending("E", count_calls), "changes parameters or buffers"),
    "stage returns a tensor": (blending("F", return_a_tensor), "stage blend gave a tensor .* not a dict"),
    "plain vector beside a mask": (blending("G", keep_a_plain_vector), "summary must be T"),
    "value hidden in padding": (blending("H", hide_in_padding), "differs when computed"),
    "stage cuts the gradient": (blending("I", detach), "no gradient"),
    "stage is not finite": (blending("J", blow_up), "not finite"),
    "no stages": (NoStages, "NoStages.stages is a value of type dict"),
    "stage is a function": (StageIsFunction, "not a module under a name"),
    "LoRA target that is not there": (WrongLora, "stage blend has no module attention"),
    "LoRA target in no stage": (LoraWithoutStage, "names 'block', which is not a stage"),
    "preparation that is no JSON": (UnwritablePreparation, "preparation gave a .* cannot be written as JSON"),
    "no feature_dim": (NoWidth, "feature_dim is None"),
    "a memory beside the state": (RemembersLastBatch, "stage blend: .* from rows that were stored below it"),
    "a word past the state": (WhispersPastTheState, "differs when computed"),
    "pool too wide": (PoolTooWide, r"pool gave a tensor \[4, 4\].* while feature_dim is 2"),
    "parameter beside the stages": (ScaleBesideStages, "pool: .* after save, build and loading"),
    "other stages when saved": (OtherStagesWhenSaved, "stage embed has other parameters"),
    "other preparation when saved": (OtherPreparationWhenSaved, "it prepares otherwise"),
    "a stage less when saved": (ForgetsStageWhenSaved, "it has other stages"),
    "preparation by batch": (PreparesByBatch, "example 0 differs when it is prepared alone"),
    "preparation by chance": (PreparesByChance, "gives other values the second time"),
    "global generator": (DrawsFromGlobalGenerator, "prepare with a view draws from a global random generator"),
    "no place marked": (MarksNothing, "a mask that marks no place of an example"),
    "mask of weights": (MaskOfWeights, "mask holds more than 0 and 1"),
    "an example forgotten": (ForgetsAnExample, "as 'numbers' for 4 examples, and not one row for each"),
    "mixed to another count": (MixesToAnotherCount, "mix gave a tensor .* and not one row for each"),
}


def test_a_good_backbone_passes(tmp_path):
    testing.check_backbone(backbone_spec(), tmp_path)


@pytest.mark.parametrize(("build", "message"), BAD_BACKBONES.values(), ids=BAD_BACKBONES)
def test_a_bad_backbone_is_found(build, message, tmp_path):
    with pytest.raises(ConformanceError, match=message):
        testing.check_backbone(backbone_spec(build), tmp_path)


def test_a_stage_that_cannot_take_dummy_rows_is_found(tmp_path):
    def refuse_more_rows(self, state):
        kept = {name: value[:4] for name, value in state.items()}
        return Blend.forward(self, kept)

    with pytest.raises(ConformanceError, match=r"stage blend gave .* for 16 examples, and not one row for each"):
        testing.check_backbone(backbone_spec(blending("K", refuse_more_rows)), tmp_path)


@dataclass(frozen=True)
class Undocumented:
    width: int = 3


@dataclass
class Thawed:
    width: int = tlcore.option(3, "Width.")


@dataclass(frozen=True)
class Unreadable:
    width: complex = tlcore.option(3, "Width.")


BAD_SPECS = {
    "one sample": ({"samples": lambda folder: rows(folder)[:1]}, "fewer than two examples"),
    "samples that are no examples": ({"samples": lambda folder: [1, 2]}, "not an Example"),
    "samples of one length": ({"samples": lambda folder: [rows(folder)[2]] * 2}, "all of one length"),
    "other options": ({"smoke": lambda folder: tlcore.NoOptions()}, "not of Options"),
    "undocumented": ({"options": Undocumented, "smoke": lambda folder: Undocumented()}, "no line of documentation"),
    "not frozen": ({"options": Thawed, "smoke": lambda folder: Thawed()}, "Thawed is not frozen"),
    "not readable": ({"options": Unreadable, "smoke": lambda folder: Unreadable()}, "complex"),
}


@pytest.mark.parametrize(("changes", "message"), BAD_SPECS.values(), ids=BAD_SPECS)
def test_a_bad_spec_is_found(changes, message, tmp_path):
    with pytest.raises(ConformanceError, match=message):
        testing.check_backbone(backbone_spec(**changes), tmp_path)


# --- tasks


class Distance(tlcore.Task):
    """Regression: no classes anywhere."""

    selection = tlcore.Selection("error", higher_is_better=False)
    outputs = 1

    def fit(self, labels):
        return {"mean": sum(labels) / len(labels)}

    def restore(self, state):
        self.mean = state["mean"]

    def encode(self, labels):
        return torch.tensor([float(label) for label in labels])

    def loss(self, outputs, targets):
        return (outputs[:, 0] - targets).square().mean()

    def decode(self, outputs):
        return {"prediction": outputs[:, 0].tolist()}

    def evaluate(self, outputs, targets):
        loss = float(self.loss(outputs, targets))
        return tlcore.Evaluation(metrics={"n": len(targets), "loss": loss, "error": loss**0.5})

    def mistakes(self, outputs, targets):
        return (outputs[:, 0] - targets).abs()

    def preview(self, example):
        return str(example.input)


def task_spec(build):
    return tlcore.TaskSpec(
        name="task",
        summary="Something to predict.",
        modality="numbers",
        build=lambda options: build(),
        smoke=lambda folder: tlcore.NoOptions(),
    )


def changed(base, **methods):
    return type("Changed", (base,), methods)


BAD_TASKS = {
    "state that is no JSON": (
        {"fit": lambda self, labels: {"labels": set(labels)}},
        "fit gave a 'labels' that cannot be written as JSON",
    ),
    "no outputs": ({"outputs": 0}, "outputs is 0"),
    "no selection": ({"selection": "macro_f1"}, "not a tlcore.Selection"),
    "encode to a list": ({"encode": lambda self, labels: [0] * len(labels)}, "and not a tensor"),
    "sum instead of mean": (
        {"loss": lambda self, outputs, targets: nn.functional.cross_entropy(outputs, targets, reduction="sum")},
        "must be the mean",
    ),
    "a loss for each row": (
        {"loss": lambda self, outputs, targets: nn.functional.cross_entropy(outputs, targets, reduction="none")},
        "not the mean loss of the batch",
    ),
    "loss without gradient": ({"loss": lambda self, outputs, targets: torch.tensor(1.0)}, "no gradient"),
    "no prediction": (
        {"decode": lambda self, outputs: {"label": ["a"] * len(outputs)}},
        "not columns of which the first is `prediction`",
    ),
    "too few predictions": (
        {"decode": lambda self, outputs: {"prediction": ["a"]}},
        "1 values of 'prediction' for 7 examples",
    ),
    "tensors as predictions": ({"decode": lambda self, outputs: {"prediction": list(outputs)}}, "not plain ones"),
    "moved predictions": (
        {
            "decode": lambda self, outputs: {
                "prediction": tlcore.Classification.decode(self, outputs)["prediction"][::-1]
            }
        },
        "another prediction when it is alone",
    ),
    "no evaluation": ({"evaluate": lambda self, outputs, targets: {"loss": 1}}, "not a tlcore.Evaluation"),
    "no metric to select by": ({"selection": tlcore.Selection("auc")}, "gave no auc"),
    "mistakes for what is right": (
        {"mistakes": lambda self, outputs, targets: torch.ones(len(outputs))},
        "not zero for what is right",
    ),
    "no mistakes at all": (
        {"mistakes": lambda self, outputs, targets: torch.zeros(len(outputs))},
        "zero for predictions that are wrong",
    ),
    "negative mistakes": (
        {"mistakes": lambda self, outputs, targets: -torch.ones(len(outputs))},
        "not one finite number from 0 on",
    ),
    "one mistake": ({"mistakes": lambda self, outputs, targets: torch.ones(1)}, r"a tensor \[1\] .* for 7 examples"),
    "preview of nothing": ({"preview": lambda self, example: None}, "preview of 0 is neither"),
    "preview of other bytes": ({"preview": lambda self, example: b"GIF"}, "preview of 0 is neither"),
}


def evaluating(**metrics):
    def evaluate(self, outputs, targets):
        found = tlcore.Classification.evaluate(self, outputs, targets)
        return dataclasses.replace(found, metrics={**found.metrics, **metrics})

    return changed(tlcore.Classification, evaluate=evaluate)


@pytest.mark.parametrize("labels", [testing.plugins.LABELS, ("x", "y"), (1, 2, 3)], ids=str)
def test_classification_passes(labels, tmp_path):
    testing.check_task(task_spec(tlcore.Classification), tmp_path, labels=labels, examples=rows(tmp_path))


def test_a_task_without_classes_passes(tmp_path):
    testing.check_task(task_spec(Distance), tmp_path, labels=(0.5, 1.0, 2.5), examples=rows(tmp_path))


@pytest.mark.parametrize(("methods", "message"), BAD_TASKS.values(), ids=BAD_TASKS)
def test_a_bad_task_is_found(methods, message, tmp_path):
    bad = changed(tlcore.Classification, **methods)
    with pytest.raises(ConformanceError, match=message):
        testing.check_task(task_spec(bad), tmp_path, examples=rows(tmp_path))


@pytest.mark.parametrize(
    ("classes", "message"),
    [("abcd", "another number of outputs"), ("bac", "other targets")],
)
def test_a_task_that_restores_to_something_else_is_found(classes, message, tmp_path):
    def fit(self, labels):
        state = tlcore.Classification.fit(self, labels)
        return {**state, "classes": list(classes)}

    with pytest.raises(ConformanceError, match=f"restore leads to {message}"):
        testing.check_task(task_spec(changed(tlcore.Classification, fit=fit)), tmp_path)


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        ({"n": 99}, "counted 99 examples as n, not 7"),
        ({"macro_f1": None}, "gave None as its macro_f1"),
        ({"loss": float("nan")}, "loss is nan"),
        ({"extra": torch.ones(1)}, "cannot be written as JSON"),
    ],
)
def test_bad_metrics_are_found(metrics, message, tmp_path):
    with pytest.raises(ConformanceError, match=message):
        testing.check_task(task_spec(evaluating(**metrics)), tmp_path)


def test_an_uneven_table_is_found(tmp_path):
    def evaluate(self, outputs, targets):
        found = tlcore.Classification.evaluate(self, outputs, targets)
        return dataclasses.replace(found, tables={"odd": tlcore.Table(columns=("a", "b"), rows=((1, 2), (3,)))})

    with pytest.raises(ConformanceError, match="a row of the table 'odd'"):
        testing.check_task(task_spec(changed(tlcore.Classification, evaluate=evaluate)), tmp_path)


# --- adapters


def plan(line=2, **changes):
    def made(self, backbone, outputs):
        groups = (tlcore.ParameterGroup("layer3", 0.1), tlcore.ParameterGroup("head"))
        settings = {"head": nn.Linear(backbone.feature_dim, outputs), "parameter_groups": groups, **changes}
        settings["head"] = settings["head"](backbone, outputs) if "head" in changes else settings["head"]
        return tlcore.Plan(freeze_line=line, **settings)

    return made


def adapter_spec(method):
    return tlcore.AdapterSpec(
        name="adapter",
        summary="Draws a line.",
        build=lambda options: type("Made", (tlcore.Adapter,), {"plan": method})(),
        smoke=lambda folder: tlcore.NoOptions(),
    )


class LowRank(nn.Module):
    def __init__(self, stage):
        super().__init__()
        self.stage = stage.requires_grad_(False)
        self.up = nn.Parameter(torch.zeros(4, 2))
        self.down = nn.Parameter(torch.randn(2, 4))

    def forward(self, state):
        return {"hidden": self.stage(state)["hidden"] + state["hidden"] @ self.down.T @ self.up.T}


SHARED_HEADS = {1: nn.Linear(4, 1), 3: nn.Linear(4, 3)}


def change_now(self, backbone, outputs):
    nn.init.zeros_(backbone.stages["layer3"].dense.weight)
    return plan()(self, backbone, outputs)


GOOD_PLANS = {
    "top stage": plan(),
    "head only": plan(3, parameter_groups=()),
    "everything": plan(0),
    "low rank": plan(injections=(tlcore.Injection("layer3", LowRank),)),
    "held back": plan(1, schedule=(tlcore.Phase(0, 3), tlcore.Phase(2, 1))),
}
BAD_PLANS = {
    "line below the bottom": (plan(-1), "outside of 0 to 3"),
    "line above the top": (plan(4), "outside of 0 to 3"),
    "no plan": (lambda self, backbone, outputs: None, "not a tlcore.Plan"),
    "group below the line": (
        plan(parameter_groups=(tlcore.ParameterGroup("layer1"),)),
        "groups the parameters of 'layer1'",
    ),
    "group of nothing": (plan(parameter_groups=(tlcore.ParameterGroup("top"),)), "groups the parameters of 'top'"),
    "two groups": (
        plan(parameter_groups=(tlcore.ParameterGroup("head"),) * 2),
        "grouped the parameters of one part twice",
    ),
    "negative scale": (plan(parameter_groups=(tlcore.ParameterGroup("head", -1.0),)), "of head by -1.0"),
    "injection below the line": (
        plan(injections=(tlcore.Injection("layer1", LowRank),)),
        "'layer1', which is not a stage above its line",
    ),
    "phase below the line": (plan(schedule=(tlcore.Phase(0, 1),)), "outside of 2 to 3"),
    "head of a wrong width": (
        plan(head=lambda backbone, outputs: nn.Linear(4, 7)),
        r"a head that makes a tensor \[2, 7\].* for 1 outputs",
    ),
    "head that is a function": (plan(head=lambda backbone, outputs: torch.tanh), "as the head, and not a module"),
    "shared head": (plan(head=lambda backbone, outputs: SHARED_HEADS[outputs]), "share one head"),
    "nothing trained": (
        plan(3, parameter_groups=(), head=lambda backbone, outputs: nn.Linear(4, outputs).requires_grad_(False)),
        "nothing above the line is trained",
    ),
    "backbone changed": (change_now, "plan changed the backbone"),
}


@pytest.mark.parametrize("method", GOOD_PLANS.values(), ids=GOOD_PLANS)
def test_a_good_adapter_passes(method, tmp_path):
    testing.check_adapter(adapter_spec(method), tmp_path)


@pytest.mark.parametrize(("method", "message"), BAD_PLANS.values(), ids=BAD_PLANS)
def test_a_bad_adapter_is_found(method, message, tmp_path):
    with pytest.raises(ConformanceError, match=message):
        testing.check_adapter(adapter_spec(method), tmp_path)


# --- data sources


def source_spec(examples):
    source = type("Source", (), {"examples": lambda self: examples()})
    return tlcore.DataSourceSpec(
        name="source",
        summary="Made-up examples.",
        modality="numbers",
        build=lambda options: source(),
        smoke=lambda folder: tlcore.NoOptions(),
    )


def example(id_="a", input_=1, **changes):
    return tlcore.Example(id=id_, input=input_, **changes)


COUNTER = iter(range(10**6))
BAD_EXAMPLES = {
    "none": (list, "no example"),
    "problems only": (lambda: [tlcore.Problem("a", "broken")], "no example"),
    "something else": (lambda: [("a", 1)], "neither an Example nor a Problem"),
    "number as id": (lambda: [example(1)], "whose id, 1, is not a text"),
    "empty id": (lambda: [example("")], "whose id, '', is not a text"),
    "id twice": (lambda: [example(), example()], "ids are not unique: a"),
    "id of the moment": (lambda: [example(f"a{next(COUNTER)}")], "a second reading"),
    "label of the moment": (lambda: [example(label=next(COUNTER))], "a second reading"),
    "no input": (lambda: [example(input_=None)], "has no input"),
    "unknown split": (lambda: [example(split="dev")], "in the split 'dev'"),
    "group that is no text": (lambda: [example(group=3)], "a group that is a value of type int"),
    "columns that are no mapping": (lambda: [example(columns=["x"])], "columns that are a value of type list"),
}


def test_good_data_pass(tmp_path):
    found = [example(), example("b", split="train", group="g", columns={"x": 1}), tlcore.Problem("c", "broken")]
    testing.check_data_source(source_spec(lambda: iter(found)), tmp_path)


@pytest.mark.parametrize(("examples", "message"), BAD_EXAMPLES.values(), ids=BAD_EXAMPLES)
def test_bad_data_are_found(examples, message, tmp_path):
    with pytest.raises(ConformanceError, match=message):
        testing.check_data_source(source_spec(examples), tmp_path)


# --- whole plugins

PLUGIN = """
import tlcore{imports}

def build(options):
    from tlcore.testing import TinyBackbone
    class Whole(tlcore.Adapter):
        def plan(self, backbone, outputs):
            from torch import nn
            return tlcore.Plan(freeze_line={line}, head=nn.Linear(backbone.feature_dim, outputs))
    return Whole()

@tlcore.hookimpl
def tl_adapters():
    {body}
    yield tlcore.AdapterSpec(
        name="whole", summary="Trains all.", build=build, smoke=lambda folder: tlcore.NoOptions()
    )
"""


@pytest.fixture
def written(tmp_path, monkeypatch):
    """Return a function that writes a plugin's module and imports it."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(line=0, imports="", body=""):
        name = f"plugin_{next(COUNTER)}"
        (tmp_path / f"{name}.py").write_text(PLUGIN.format(line=line, imports=imports, body=body or "pass"))
        return __import__(name)

    yield write
    for name in [name for name in sys.modules if name.startswith("plugin_")]:
        del sys.modules[name]


def test_a_good_plugin_passes_by_module_and_by_host(written, tmp_path):
    module = written()
    testing.check_plugin(module, tmp_path)
    testing.check_light_import(module.__name__)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"imports": ", torch"}, "it imports numpy, torch"),
        ({"body": "import sklearn"}, "sklearn"),
        ({"body": "raise ValueError('not today')"}, "failed at tl_adapters: ValueError: not today"),
        ({"body": "yield 3"}, "not a AdapterSpec"),
        ({"line": 9}, "outside of 0 to 3"),
    ],
)
def test_a_bad_plugin_is_found(changes, message, written, tmp_path):
    with pytest.raises(ConformanceError, match=message):
        testing.check_plugin(written(**changes), tmp_path)


def test_a_fault_names_the_offer_that_has_it(written, tmp_path):
    module = written(line=9)
    with pytest.raises(ConformanceError) as caught:
        testing.check_plugin(module, tmp_path)
    assert caught.value.__notes__ == [f"while checking the adapter {module.__name__}/whole"]
