"""The heavy half, imported only when something is built."""

import math
import random

import torch
from torch import nn

import tlcore


class VectorClassification(tlcore.Classification):
    """One label for each vector."""

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
        self.lora_targets = {}

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


class Blobs:
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
