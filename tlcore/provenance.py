"""Where a run's figures come from: digests of weights and data, versions, counts, memory."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import sys
from collections import Counter
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlcore.contracts import SPLITS, Backbone, Plan
from tlcore.data.examples import Dataset, are_quantities
from tlcore.weights import digest_of_tensors

if TYPE_CHECKING:
    from tlcore.training.network import Upper

__all__ = [
    "about_backbone",
    "class_counts",
    "data_digest",
    "frozen_digest",
    "kind_of_inputs",
    "library_versions",
    "parameter_counts",
    "peak_memory",
]

MOST_CLASSES = 1000
"""More different labels than this are no classes that a person would count."""


def about_backbone(name: str, backbone: Backbone, plan: Plan) -> dict[str, Any]:
    """Return what the manifest says of a backbone: its stages, where the line is, and the digest of all that it is."""
    names = list(backbone.stages)
    weights = {f"{n}/{key}": value for n, stage in backbone.stages.items() for key, value in stage.state_dict().items()}
    identity = {"weights": digest_of_tensors(weights), "preparation": dict(backbone.preparation)}
    return {
        "name": name,
        "stages": names,
        "freeze_line": plan.freeze_line,
        "first_trained": names[plan.freeze_line] if plan.freeze_line < len(names) else None,
        "weights_digest": identity["weights"],
        "preparation": identity["preparation"],
        "digest": hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest(),
    }


def frozen_digest(backbone: Backbone, line: int) -> str:
    """Return the digest of all parameters and buffers below the line."""
    stages = list(backbone.stages.items())[:line]
    return digest_of_tensors({f"{n}/{key}": value for n, stage in stages for key, value in stage.state_dict().items()})


def parameter_counts(backbone: Backbone, upper: Upper) -> dict[str, int]:
    """Return how many parameters are trained and how many stay frozen."""
    trained = sum(parameter.numel() for parameter in upper.parameters() if parameter.requires_grad)
    below = list(backbone.stages.values())[: upper.line]
    held = sum(parameter.numel() for parameter in upper.parameters() if not parameter.requires_grad)
    frozen = held + sum(parameter.numel() for stage in below for parameter in stage.parameters())
    return {"trained_parameters": trained, "frozen_parameters": frozen}


def kind_of_inputs(dataset: Dataset) -> str:
    """Return how a file given to `tl predict` becomes inputs: it is one, holds texts, or holds JSON values."""
    first = next(iter(dataset.examples.values())).input
    if isinstance(first, (Path, bytes)):
        return "file"
    return "text" if isinstance(first, str) else "json"


def data_digest(dataset: Dataset) -> str:
    """Return the digest of ids, contents, labels and splits."""
    rows = [[id_, dataset.digests[id_], str(e.label), e.split] for id_, e in sorted(dataset.examples.items())]
    return hashlib.sha256(json.dumps(rows).encode("utf-8", "surrogatepass")).hexdigest()


def class_counts(dataset: Dataset) -> dict[str, dict[str, int]]:
    """Return how many examples each label has in each split; nothing where labels are too many, or quantities.

    Of an example with several labels each is counted.
    """
    counts = {split: dataset.label_counts(split) for split in SPLITS}
    everywhere = sum(counts.values(), Counter())
    if len(everywhere) > MOST_CLASSES or are_quantities(everywhere):
        return {}
    return {label: {split: counts[split][label] for split in SPLITS} for label in sorted(everywhere)}


def library_versions() -> dict[str, str]:
    """Return the installed version of everything that tlcore itself requires."""
    found = {}
    for requirement in metadata.requires("tlcore") or []:
        name = re.split(r"[^\w.-]", requirement)[0]
        if "extra ==" not in requirement:
            with contextlib.suppress(metadata.PackageNotFoundError):
                found[name] = metadata.version(name)
    return found


def peak_memory() -> int:
    """Return the most bytes of memory that this process held, 0 where the system does not tell."""
    try:
        import resource
    except ImportError:  # not a Unix
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
