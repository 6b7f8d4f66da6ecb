"""Run one benchmark by its name."""

from __future__ import annotations

import argparse
import importlib
import json
from dataclasses import dataclass
from pathlib import Path

from benchmarks.contest import Settings


@dataclass(frozen=True)
class Benchmark:
    """What a name stands for; those that compare have options, and how many examples they take unless told."""

    summary: str
    module: str
    function: str = "measure"
    examples: int | None = None
    repeats: int = 3
    epochs: int | None = None
    """So many of the epochs that rivals train for are measured; None where they train for none."""
    berts: bool = False
    """Whether there is a choice of networks."""


BENCHMARKS = {
    "frozen-pictures": Benchmark(
        "frozen VGG16, 25 epochs: beside the tutorials' loop, Trainer, fastai and one bare forward pass",
        "frozen_pictures",
        examples=60,
        epochs=1,
    ),
    "top-of-vgg16": Benchmark(
        "an epoch of VGG16's last block: stored maps beside full forward passes",
        "top_of_vgg16",
        examples=70,
        epochs=1,
    ),
    "frozen-texts": Benchmark(
        "frozen BERT-base, 25 epochs: beside Trainer", "texts", "frozen", examples=100, epochs=2, berts=True
    ),
    "top-of-bert": Benchmark(
        "an epoch of BERT-base's top two layers: beside Trainer",
        "texts",
        "top_layers",
        examples=80,
        epochs=2,
        berts=True,
    ),
    "whole-bert": Benchmark(
        "an epoch of all of BERT-base's layers: beside Trainer",
        "texts",
        "all_layers",
        examples=60,
        epochs=2,
        berts=True,
    ),
    "features-of-texts": Benchmark(
        "MiniLM's first pass beside bare forward passes", "features_of_texts", examples=1000, repeats=5
    ),
    "second-run": Benchmark(
        "a run with everything in the store beside importing its libraries", "second_run", examples=300, repeats=5
    ),
    "first-batch": Benchmark(
        "a run until its first batch beside importing its libraries", "first_batch", examples=100, repeats=5
    ),
    "scale": Benchmark("time and memory as the data grows", "scale", examples=10_000, repeats=2),
    "throughput": Benchmark(
        "how busy the device is: first pass and training beside the bare forward pass", "throughput", examples=300
    ),
    "peak": Benchmark("the share of the processor's bf16 peak that the first pass reaches", "peak", examples=16),
    "head": Benchmark("25 epochs of a head on 10,000 stored features", "head"),
    "article": Benchmark("tlcore's 25 epochs beside one epoch of the loop that tutorials teach", "article"),
    "pretrained": Benchmark("pre-trained VGG16 beside random weights on drawn vehicles, three seeds", "pretrained"),
    "trainer": Benchmark(
        "three adapters beside Hugging Face's Trainer: same weights, same splits, one seed", "trainer"
    ),
    "hardness": Benchmark("how hard the drawn vehicles are: 32x32 pixels beside frozen VGG16", "hardness"),
}


def main() -> None:
    """Parse the command line and print the chosen benchmark's table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    names = parser.add_subparsers(dest="name", required=True, metavar="NAME")
    for name, benchmark in BENCHMARKS.items():
        _add_options(names.add_parser(name, help=benchmark.summary, description=benchmark.summary), benchmark)
    given = vars(parser.parse_args())
    benchmark, kept = BENCHMARKS[given.pop("name")], given.pop("json")
    measure = getattr(importlib.import_module(f"benchmarks.{benchmark.module}"), benchmark.function)
    figures = measure(Settings(**given)) if benchmark.examples is not None else measure()
    if kept:
        kept.write_text(json.dumps(figures, indent=2) + "\n", "utf-8")


def _add_options(parser: argparse.ArgumentParser, benchmark: Benchmark) -> None:
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures as JSON")
    if benchmark.examples is None:
        return
    counts = {
        "--examples": (benchmark.examples, "how many"),
        "--threads": (1, "threads that each may use"),
        "--repeats": (benchmark.repeats, "turns that each takes"),
    }
    if benchmark.epochs is not None:
        counts["--measured-epochs"] = (
            benchmark.epochs,
            "epochs that rivals really run; of more the time is multiplied",
        )
    for option, (usual, about) in counts.items():
        parser.add_argument(option, type=_count, default=usual, metavar="N", help=f"{about} ({usual})")
    parser.add_argument(
        "--only", action="append", default=[], metavar="NAME", help="who takes part, as the table names it; several"
    )
    if benchmark.berts:
        parser.add_argument(
            "--network", choices=("bert-base", "minilm"), default="bert-base", help="(%(default)s, random weights)"
        )


def _count(text: str) -> int:
    if (value := int(text)) < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value


if __name__ == "__main__":
    main()
