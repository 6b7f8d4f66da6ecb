"""Where a run's figures come from: digests of weights and data, versions, counts, memory."""

from __future__ import annotations

import contextlib
import hashlib
import json
import platform
import re
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlcore.contracts import SPLITS, AugmentsInputs, Backbone, Plan, UsesLibraries
from tlcore.data.dataset import Dataset, are_quantities
from tlcore.features.keys import CachedViews, FeatureKeys, Namespace, namespace_of, versions_of
from tlcore.files.digests import digest_of_tensors
from tlcore.mappings import flatten
from tlcore.plugins.host import Plugin
from tlcore.recipe import Recipe

if TYPE_CHECKING:
    from accelerate import Accelerator

    from tlcore.training.model import TrainableModel

__all__ = [
    "about_backbone",
    "class_counts",
    "data_digest",
    "feature_keys",
    "frozen_digest",
    "kind_of_inputs",
    "library_versions",
    "parameter_counts",
    "peak_memory",
    "processor",
    "run_identity",
    "state_namespace",
]

UNIMPORTANT = ("train.checkpoint_steps", "train.checkpoint_minutes", "evaluate.report", "track", "features.memory")
"""Keys of a recipe that decide nothing of what is learnt."""
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


def parameter_counts(backbone: Backbone, model: TrainableModel) -> dict[str, int]:
    """Return how many parameters are trained and how many stay frozen."""
    trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    below = list(backbone.stages.values())[: model.freeze_line]
    held = sum(parameter.numel() for parameter in model.parameters() if not parameter.requires_grad)
    frozen = held + sum(parameter.numel() for stage in below for parameter in stage.parameters())
    return {"trained_parameters": trained, "frozen_parameters": frozen}


def run_identity(
    recipe: Mapping[str, Any],
    dataset: Dataset,
    weights: str,
    plugins: Iterable[Plugin],
    accelerator: Accelerator,
    *,
    processes: int,
) -> dict[str, Any]:
    """Return all that decides what a run computes: two with the same identity give the same bits on one machine.

    ``recipe`` is a plain one, ``weights`` the digest of the backbone.
    """
    from tlcore import __version__
    from tlcore.training.device import precision_of

    return {
        "recipe": {key: value for key, value in flatten(recipe).items() if key not in UNIMPORTANT},
        "data": data_digest(dataset),
        "weights": weights,
        "libraries": {"tlcore": __version__, "python": platform.python_version(), **library_versions()},
        "plugins": {plugin.name: f"{plugin.distribution} {plugin.version}" for plugin in plugins},
        "device": accelerator.device.type,
        "precision": precision_of(accelerator),
        "processes": processes,
    }


def kind_of_inputs(dataset: Dataset) -> str:
    """Return how a file given to `tl predict` becomes inputs: it is one, holds texts, or holds JSON values."""
    first = next(iter(dataset.examples.values())).input
    if isinstance(first, (Path, bytes)):
        return "file"
    return "text" if isinstance(first, str) else "json"


def data_digest(dataset: Dataset) -> str:
    """Return the digest of ids, contents, labels and splits."""
    total = hashlib.sha256()
    for id_ in sorted(dataset.examples):
        example = dataset.examples[id_]
        row = json.dumps([id_, dataset.digests[id_], str(example.label), example.split])
        total.update(row.encode("utf-8", "surrogatepass"))
    return total.hexdigest()


def class_counts(dataset: Dataset) -> dict[str, dict[str, int]]:
    """Return how many examples each label has in each split; nothing where labels are too many, or quantities.

    Of an example with several labels each is counted.
    """
    counts = {split: dataset.label_counts(split) for split in SPLITS}
    everywhere = sum(counts.values(), Counter())
    if len(everywhere) > MOST_CLASSES or are_quantities(everywhere):
        return {}
    return {label: {split: counts[split][label] for split in SPLITS} for label in sorted(everywhere)}


def library_versions(distribution: str = "tlcore") -> dict[str, str]:
    """Return the installed version of everything that a distribution (tlcore itself) requires."""
    found = {}
    for requirement in metadata.requires(distribution) or []:
        name = re.split(r"[^\w.-]", requirement)[0]
        if "extra ==" not in requirement:
            with contextlib.suppress(metadata.PackageNotFoundError):
                found[name] = metadata.version(name)
    return found


def state_namespace(recipe: Recipe, backbone: Backbone, freeze_at: int, precision: str) -> Namespace:
    """Describe the states of a recipe's network at a freeze point, by all that decides them besides the example.

    A backbone whose values depend on few packages names them in ``libraries``; otherwise every requirement of the
    package that brings it counts.
    """
    named = versions_of(("torch", *backbone.libraries)) if isinstance(backbone, UsesLibraries) else None
    return namespace_of(
        backbone,
        freeze_at,
        name=recipe.backbone.name,
        weights=frozen_digest(backbone, freeze_at),
        precision=precision,
        libraries=named or _behind(backbone),
    )


def _behind(backbone: Backbone) -> dict[str, str]:
    package = type(backbone).__module__.partition(".")[0]
    found = versions_of(("torch",))
    for distribution in metadata.packages_distributions().get(package, []):
        found |= {distribution: metadata.version(distribution), **library_versions(distribution)}
    return found


def feature_keys(recipe: Recipe, dataset: Dataset) -> FeatureKeys:
    """Return the keys of a run's examples in the feature cache; where it augments, those of training have views."""
    options = recipe.backbone.options
    if not isinstance(options, AugmentsInputs) or options.augment is None:
        return FeatureKeys(dataset.digests)
    views = CachedViews(recipe.seed, recipe.train.views, frozenset(example.id for example in dataset.split("train")))
    return FeatureKeys(dataset.digests, views, repr(options.augment))


def peak_memory() -> int:
    """Return the most bytes of memory that this process held, 0 where the system does not tell."""
    try:
        import resource
    except ImportError:  # not a Unix
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def processor() -> dict[str, Any]:
    """Return the processor's name, the class of kernels that torch takes for it, and the number of threads.

    With another of any of these the last bits of a sum may be others.
    """
    import torch

    name = platform.machine()
    with contextlib.suppress(OSError):  # Linux tells more
        about = Path("/proc/cpuinfo").read_text("utf-8", "replace")
        if found := re.search(r"^model name\s*:\s*(.+)$", about, re.MULTILINE):
            name = found[1].strip()
    return {"name": name, "kernels": torch.backends.cpu.get_cpu_capability(), "threads": torch.get_num_threads()}
