"""The parts: good ones, and what is changed of them for each fault."""

import dataclasses
import math
import os
import random

import torch
from outside_vectors import BlobOptions, PerceptronOptions
from outside_vectors.network import Blobs, Layer, Perceptron, VectorClassification
from torch import nn

import tlcore


def raising(error):
    def method(*given):
        raise error

    return method


def doing(effect, method):
    """Return a method that does something else besides."""

    def both(*given):
        effect()
        return method(*given)

    return both


def scored(**changed):
    def evaluate(self, outputs, targets):
        found = VectorClassification.evaluate(self, outputs, targets)
        metrics = {name: value for name, value in {**found.metrics, **changed}.items() if value is not None}
        return tlcore.Evaluation(metrics, found.tables)

    return evaluate


def lost(change):
    return lambda self, outputs, targets: change(VectorClassification.loss(self, outputs, targets))


def told(change):
    """Return a ``decode`` whose columns are changed."""
    return lambda self, outputs: {
        name: change(values) for name, values in VectorClassification.decode(self, outputs).items()
    }


TASKS = {
    "none": {},
    "metric nan": {"evaluate": scored(macro_f1=math.nan)},
    "metric text": {"evaluate": scored(macro_f1="good")},
    "metric absent": {"evaluate": scored(macro_f1=None)},
    "metric tensor": {"evaluate": scored(accuracy=torch.tensor(1.0))},
    "scores by chance": {"evaluate": lambda *given: scored(macro_f1=random.random())(*given)},
    "no evaluation": {"evaluate": lambda *given: {"macro_f1": 1.0}},
    "loss vector": {"loss": lost(lambda loss: loss.expand(8))},
    "loss whole": {"loss": lost(lambda loss: loss.long())},
    "loss detached": {"loss": lost(lambda loss: loss.detach())},
    "loss elsewhere": {"loss": lost(lambda loss: torch.zeros((), requires_grad=True) * 1)},
    "loss nan": {"loss": lost(lambda loss: loss * math.nan)},
    "loss raising": {"loss": raising(RuntimeError())},
    "loss stopping": {"loss": raising(StopIteration())},
    "loss exiting": {"loss": raising(SystemExit(0))},
    "another seed": {"loss": doing(lambda: torch.manual_seed(1), VectorClassification.loss)},
    "printing": {"loss": doing(lambda: os.write(1, b"HELLO\n"), VectorClassification.loss)},
    "decode short": {"decode": told(lambda values: values[:-1])},
    "decode tensors": {"decode": lambda self, outputs: {"prediction": list(outputs)}},
    "encode short": {"encode": lambda self, labels: VectorClassification.encode(self, labels)[:-1]},
    "encode beyond": {"encode": lambda self, labels: VectorClassification.encode(self, labels) + 7},
    "mistakes short": {"mistakes": lambda self, outputs, targets: torch.ones(len(targets) - 1)},
    "preview raising": {
        "preview": raising(ValueError("cannot show it")),
        "mistakes": lambda self, outputs, targets: torch.ones(len(targets)),
    },
    "sampling short": {"sampling_weights": lambda self, labels: [1.0] * (len(labels) - 2)},
}


def source(change):
    def examples(self):
        return change(list(Blobs(BlobOptions(per_class=20)).examples()))

    return {"examples": examples}


def each(change):
    return source(lambda found: [dataclasses.replace(example, **change(n)) for n, example in enumerate(found)])


def breaking_off(found):
    yield from found[:10]
    raise KeyError("row")


SOURCES = {
    "none": {},
    "ids whole": each(lambda n: {"id": n}),
    "ids twice": each(lambda n: {"id": str(n // 2)}),
    "ids unwritable": each(lambda n: {"id": f"\udc80{n}"}),
    "no labels": each(lambda n: {"label": None}),
    "labels nan": each(lambda n: {"label": math.nan}),
    "labels odd": each(lambda n: {"label": object()}),
    "labels mixed": each(lambda n: {"label": [True, 1, 1.5][n % 3]}),
    "breaking off": source(breaking_off),
    "dicts": source(lambda found: [dataclasses.asdict(example) for example in found]),
    "nothing": source(lambda found: None),
}


def prepared(change):
    return {"prepare": lambda self, *given: {"hidden": change(Perceptron.prepare(self, *given)["hidden"])}}


class Changed(nn.Module):
    """A stage whose output is changed."""

    def __init__(self, stage, change):
        super().__init__()
        self.stage = stage
        self.change = change
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, state):
        return {"hidden": self.change(self, self.stage(state)["hidden"])}


def staged(change, name="layer2"):
    def made(self, options):
        Perceptron.__init__(self, options)
        self.stages[name] = Changed(self.stages[name], change)

    return {"__init__": made}


BACKBONES = {
    "none": {},
    "prepare None": {"prepare": lambda *given: None},
    "prepare numpy": prepared(lambda hidden: hidden.numpy()),
    "prepare meta": prepared(lambda hidden: hidden.to("meta")),
    "prepare moved": prepared(lambda hidden: hidden.flip(0)),
    "prepare by chance": prepared(lambda hidden: hidden + torch.rand_like(hidden)),
    "prepare types": prepared(lambda hidden: hidden.to(torch.float32 if len(hidden) == 32 else torch.float64)),
    "prepare raising": {"prepare": raising(Exception())},
    "prepare exiting": {"prepare": raising(SystemExit(0))},
    "stage short": staged(lambda stage, hidden: hidden[:-1]),
    "stage keeping": staged(lambda stage, hidden: hidden + 0 * stage.seen.add_(1)),
    "stage of companions": staged(lambda stage, hidden: hidden - hidden.mean(0)),
    "stage numpy": staged(lambda stage, hidden: hidden.numpy(), "layer3"),
    "stage raising": staged(raising(Exception())),
    "stage cut off": staged(lambda stage, hidden: hidden.detach(), "layer3"),
    "pool narrow": {"pool": lambda self, state: state["hidden"][:, :3]},
    "unwritable": {"preparation": None, "__init__": lambda self, options: unwritable(self, options)},
}


def unwritable(self, options):
    Perceptron.__init__(self, options)
    self.preparation = {"size": {1, 2}}


def planned(line=3, head=nn.Linear, **more):
    return {"plan": lambda self, backbone, outputs: tlcore.Plan(line, head(backbone.feature_dim, outputs), **more)}


def replacing(self, backbone, outputs):
    backbone.stages["layer2"] = Layer(8, 8)
    return tlcore.Plan(3, nn.Linear(8, outputs))


def sharing(self, backbone, outputs):
    head = nn.Linear(8, outputs)
    head.more = backbone.stages["layer1"]
    return tlcore.Plan(3, head)


ADAPTERS = {
    "none": {},
    "line outside": planned(99),
    "line name": planned("layer3"),
    "nothing trained": planned(head=lambda width, outputs: nn.Linear(width, outputs).requires_grad_(False)),
    "head wide": planned(head=lambda width, outputs: nn.Linear(width, outputs + 1)),
    "replacing": {"plan": replacing},
    "sharing": {"plan": sharing},
    "uphill": planned(2, parameter_groups=(tlcore.ParameterGroup("layer3", -1.0),)),
    "injecting nothing": planned(2, injections=(tlcore.Injection("layer3", lambda stage: None),)),
    "phase outside": planned(2, schedule=(tlcore.Phase(0, 99),)),
    "None": {"plan": lambda *given: None},
}
KINDS = {
    "task": (VectorClassification, TASKS, ()),
    "data": (Blobs, SOURCES, (BlobOptions(per_class=20),)),
    "backbone": (Perceptron, BACKBONES, (PerceptronOptions(width=8),)),
    "adapter": (tlcore.Adapter, ADAPTERS, ()),
}


def part(kind, fault):
    """Return a part that is as good as any but for one thing."""
    base, faults, options = KINDS[kind]
    return type("Odd", (base,), {"__module__": __name__, **faults[fault]})(*options)
