"""Run one benchmark by its name."""

from __future__ import annotations

import argparse
import importlib
import json
from pathlib import Path

BENCHMARKS = {
    "article": "tlcore's 25 epochs beside one epoch of the loop that tutorials teach",
    "pretrained": "pre-trained VGG16 beside random weights on drawn vehicles, three seeds",
    "trainer": "three adapters beside Hugging Face's Trainer: same weights, same splits, one seed",
    "hardness": "how hard the drawn vehicles are: 32x32 pixels beside frozen VGG16",
}


def main() -> None:
    """Parse the command line and print the chosen benchmark's table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("name", choices=BENCHMARKS, help="; ".join(f"{k}: {v}" for k, v in BENCHMARKS.items()))
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures as JSON")
    given = parser.parse_args()
    figures = importlib.import_module(f"benchmarks.{given.name}").measure()
    if given.json:
        given.json.write_text(json.dumps(figures, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
