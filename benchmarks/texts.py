"""BERT on tweets: frozen for 25 epochs, with its top two layers trained, and as a whole; tlcore beside the Trainer.

Both read the same checkpoint from a folder: a BERT-base with random weights (for its time, which weights do not change;
its scores say little), or with ``--network minilm`` the real all-MiniLM-L6-v2. Both read 128 tokens at most. Where an
epoch is timed, validation is in it; tlcore's wall time also has the writing of the best epoch so far to the disk, which
the Trainer is told not to do.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.contenders import KEPT_MEMORY, Place, tlcore_epoch, tlcore_run
from benchmarks.contest import Contender, Settings, report
from benchmarks.inputs import bert_folder, write_tweets

FROZEN_EPOCHS = 25
EPOCHS = 4
"""Of tlcore, where an epoch is timed: to take the median of."""
MAX_LENGTH = 128
BATCH = 32


def frozen(settings: Settings) -> dict[str, Any]:
    """Time 25 epochs of a head on the frozen network, print a table and return the figures."""
    with tempfile.TemporaryDirectory() as folder:
        place, table, network = _prepared(Path(folder), settings)
        recipe = _recipe(table, network, "feature-extraction", FROZEN_EPOCHS, {"name": "adam", "lr": 1e-3})
        epochs = min(settings.measured_epochs, FROZEN_EPOCHS)
        usual = [str(table), str(network), "--trained", "head", "--lr", "1e-3", "--epochs", str(epochs)]
        texts = [str(table), str(network)]
        contenders = [
            Contender("tlcore", lambda: tlcore_run(place, recipe), "the whole run, empty store"),
            place.rival("Trainer, padded to 128", "trainer_texts", [*usual, "--padded"], epochs=FROZEN_EPOCHS),
            place.rival("Trainer, dynamic padding", "trainer_texts", usual, epochs=FROZEN_EPOCHS),
            place.bare("bare pass", "bare_texts", texts, note="forward alone, once, bf16, sorted by length"),
            place.bare(
                "bare pass, memory kept",
                "bare_texts",
                texts,
                note="the same, glibc told to keep freed memory",
                environment=KEPT_MEMORY,
            ),
        ]
        title = f"frozen {settings.network}, {FROZEN_EPOCHS} epochs on {settings.examples} tweets"
        return report(title, contenders, settings, reference="tlcore", per=settings.examples)


def top_layers(settings: Settings) -> dict[str, Any]:
    """Time an epoch of the top two layers and a head, print a table and return the figures."""
    return _an_epoch(settings, "2", {"padded to 128": ["--padded"], "dynamic": [], "dynamic, bf16": ["--bf16"]})


def all_layers(settings: Settings) -> dict[str, Any]:
    """Time an epoch of all layers and a head, print a table and return the figures."""
    fastest = ["--bf16", "--grouped"]
    return _an_epoch(
        settings, "all", {"dynamic": [], "dynamic, bf16": ["--bf16"], "dynamic, bf16, grouped by length": fastest}
    )


def _an_epoch(settings: Settings, layers: str, rivals: dict[str, Sequence[str]]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        place, table, network = _prepared(Path(folder), settings)
        adapter = {"name": "fine-tuning", "layers": "all" if layers == "all" else int(layers)}
        recipe = _recipe(table, network, adapter, EPOCHS, {"name": "adamw", "lr": 5e-5})
        cache = Path(folder) / "cache"
        usual = [str(table), str(network), "--trained", layers, "--epochs", str(settings.measured_epochs)]
        after = f"scores after {settings.measured_epochs} of them"
        contenders = [
            Contender("tlcore", lambda: tlcore_epoch(place, recipe, cache=cache), f"scores after {EPOCHS} of them"),
            *(
                place.rival(f"Trainer, {name}", "trainer_texts", [*usual, *options], note=after)
                for name, options in rivals.items()
            ),
        ]
        trained = "all layers" if layers == "all" else f"the top {layers} layers"
        title = f"{settings.network}, an epoch of {trained} and head on {settings.examples} tweets"
        return report(title, contenders, settings, reference="tlcore", per=settings.examples)


def _prepared(folder: Path, settings: Settings) -> tuple[Place, Path, Path]:
    table = folder / "tweets.csv"
    write_tweets(table, settings.examples)
    return Place(folder, settings), table, bert_folder(settings.network, folder / "network")


def _recipe(table: Path, network: Path, adapter: Any, epochs: int, optimizer: dict[str, Any]) -> dict[str, Any]:
    return {
        "task": "text-classification",
        "data": {"source": "table", "path": str(table)},
        "backbone": {"name": "bert", "weights": str(network), "pool": "mean", "max_length": MAX_LENGTH},
        "adapter": adapter,
        "train": {"epochs": epochs, "batch_size": BATCH, "optimizer": optimizer},
        "seed": 7,
    }
