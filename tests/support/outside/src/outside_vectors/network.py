"""The heavy half, imported only when something is built."""

import math
import random
import statistics

import torch
from torch import nn
from torch.nn import functional

import tlcore


class VectorClassification(tlcore.Classification):
    """One label for each vector."""

    def preview(self, example):
        return ", ".join(f"{value:.2f}" for value in example.input)


class VectorRegression(tlcore.Task):
    """One number for each vector, learnt in units of the training labels' deviation."""

    selection = tlcore.Selection("rmse", higher_is_better=False)
    outputs = 1

    def __init__(self):
        self.mean, self.deviation = 0.0, 1.0

    def fit(self, labels):
        if len(set(labels)) < 2:
            raise tlcore.DataError("every training label is the same number")
        state = {"mean": statistics.fmean(labels), "deviation": statistics.pstdev(labels)}
        self.restore(state)
        return state

    def restore(self, state):
        self.mean, self.deviation = state["mean"], state["deviation"]

    def encode(self, labels):
        return torch.tensor([(label - self.mean) / self.deviation for label in labels], dtype=torch.float32)

    def loss(self, outputs, targets):
        return functional.mse_loss(outputs[:, 0], targets)

    def decode(self, outputs):
        return {"prediction": (outputs[:, 0].double() * self.deviation + self.mean).tolist()}

    def evaluate(self, outputs, targets):
        loss = float(self.loss(outputs, targets))
        rmse = math.sqrt(loss) * self.deviation
        return tlcore.Evaluation(metrics={"loss": loss, "n": len(targets), "rmse": rmse})

    def mistakes(self, outputs, targets):
        return (outputs[:, 0] - targets).abs() * self.deviation

    def preview(self, example):
        return ", ".join(f"{value:.2f}" for value in example.input)


class Layer(nn.Module):
    """One dense layer as a stage."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.dense = nn.Linear(inputs, outputs)

    def forward(self, state):
        return {"hidden": torch.tanh(self.dense(state["hidden"]))}


class Perceptron(tlcore.Backbone):
    """Two numbers in, ``width`` numbers out."""

    def __init__(self, options):
        names = [f"layer{n + 1}" for n in range(options.depth)]
        last = options.output or names[-1]
        if last not in names:
            raise tlcore.UsageError(f"perceptron has no stage {last!r}", hint=f"stages: {', '.join(names)}")
        used = names[: names.index(last) + 1]
        self.stages = {name: Layer(2 if n == 0 else options.width, options.width) for n, name in enumerate(used)}
        self.feature_dim = options.width
        self.preparation = {"numbers": 2}
        self.lora_targets = {name: ["dense"] for name in self.stages}

    def prepare(self, examples, view=None):
        for example in examples:
            if len(example.input) != 2:
                raise tlcore.UnreadableError(f"expected 2 numbers, got {len(example.input)}")
        return {"hidden": torch.tensor([example.input for example in examples], dtype=torch.float32)}

    def pool(self, state):
        return state["hidden"]

    def mix(self, state, targets, generator):
        raise tlcore.UsageError("perceptron cannot mix examples")

    def save(self, folder):
        """Nothing to keep: the options say it all."""


class Blobs(tlcore.DataSource):
    """Clusters on a circle."""

    def __init__(self, options):
        self.options = options

    def examples(self):
        rng = random.Random(0)
        for label in range(self.options.classes):
            angle = 2 * math.pi * label / self.options.classes
            for n in range(self.options.per_class):
                x = math.cos(angle) + rng.gauss(0, self.options.spread)
                y = math.sin(angle) + rng.gauss(0, self.options.spread)
                yield tlcore.Example(id=f"{label}-{n}", input=(x, y), label=f"cluster {label}")


class Slope(tlcore.DataSource):
    """Points on a slope in the plane, and how high they lie."""

    def __init__(self, options):
        self.options = options

    def examples(self):
        rng = random.Random(0)
        for n in range(self.options.points):
            x, y = rng.uniform(-1, 1), rng.uniform(-1, 1)
            yield tlcore.Example(id=str(n), input=(x, y), label=2 * x - y + rng.gauss(0, self.options.noise))
