"""Which weights a name or a path means, whether they are this network's, and how they expect a picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tl_vision import original_vgg16
from tl_vision.architectures import ARCHITECTURES, weight_files
from tl_vision.stages import CLASSIFIERS, expected_tensors
from tlcore import UsageError, WeightsError, nearest
from tlcore.support import digest_of_tensors, download, file_digest, read_object, read_tensors, verify_folder

__all__ = ["KEPT", "Pretrained", "found", "kept_by"]

KEPT = "network.json"
"""What a backbone keeps of itself beside its tensors."""
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
MARGINS = {"imagenet-v2": 232 / 224}
"""How much longer the shorter side is than the square that is cropped from the centre, where it is not USUAL_MARGIN."""
USUAL_MARGIN = 256 / 224
TABLE_ROWS = 10


@dataclass(frozen=True)
class Pretrained:
    """Weights under torchvision's names (None: to be drawn), and what belongs to them."""

    place: str
    stages: tuple[str, ...]
    """Those that they have, from the first on."""
    tensors: Mapping[str, Tensor] | None
    expects: Mapping[str, Any] = field(
        default_factory=lambda: {"mean": IMAGENET_MEAN, "std": IMAGENET_STD, "margin": USUAL_MARGIN}
    )
    """Mean and deviation of each channel, and the margin."""
    kept: Mapping[str, Any] | None = None
    """Instead of those, the preparation that an earlier run kept."""


def found(name: str, weights: Path | str) -> Pretrained:
    """Return the weights of the network ``name`` that a name or a path means.

    Raises:
        WeightsError: absent, unreachable, another network's, or not what the name stands for.
        UsageError: no such name.
    """
    files = weight_files(name)
    if weights == "random":
        return Pretrained("random", _stage_names(name), None)
    if weights == "imagenet-features" and name == "vgg16":
        return _original()
    if isinstance(weights, str) and weights in files:
        url, digest = files[weights]
        torchs_own = Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[-1]
        return _of_file(name, download(url, digest_prefix=digest, also_at=[torchs_own]), weights)
    if isinstance(weights, Path):
        return _of_folder(name, weights) if weights.is_dir() else _of_file(name, weights, _known_as(name, weights))
    names = _names(name)
    meant = nearest(weights, names)
    raise UsageError(
        f"backbone.weights: {weights!r} is neither a path here nor a name of weights for {name}",
        where=f"names: {', '.join(names)}; looked for a path at {Path(weights).absolute()}",
        hint=f"did you mean {meant!r}?" if meant else "give a name, a .safetensors or .pth file, or a run's folder",
    )


def kept_by(folder: Path, name: str) -> dict[str, Any]:
    """Return what a backbone's ``save`` wrote into a folder, distrusted: a model may come from anyone.

    Raises:
        WeightsError: not readable, or another network's.
    """
    path = folder / KEPT
    try:
        kept = read_object(path)
        network, output, preparation = kept["network"], kept["output"], kept["preparation"]
    except (WeightsError, ValueError, KeyError, TypeError) as error:
        raise WeightsError(f"{KEPT} is damaged: {type(error).__name__}: {error}", where=str(path)) from error
    if network != name:
        known = isinstance(network, str) and network in ARCHITECTURES
        raise WeightsError(
            f"the weights are of {str(network)[:40]}, not of {name}",
            where=str(path),
            hint=f"write `name: {network}`, or give other weights" if known else None,
        )
    if output not in _stage_names(name) or not isinstance(preparation, dict):
        raise WeightsError(f"{KEPT} does not describe {name}", where=str(path))
    return {"output": output, "preparation": preparation}


def _stage_names(name: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(stage for stage, _ in expected_tensors(name).values()))


def _names(name: str) -> tuple[str, ...]:
    own = ("imagenet-features",) if name == "vgg16" else ()
    return (*own, *weight_files(name), "random")


def _original() -> Pretrained:
    tensors = original_vgg16.original_convolutions()
    return Pretrained("imagenet-features", _stage_names("vgg16")[:5], tensors, _expected_by_the_original())


def _expected_by_the_original() -> dict[str, Any]:
    return {"mean": original_vgg16.MEAN, "std": original_vgg16.STD, "margin": 1.0}


def _known_as(name: str, path: Path) -> str | None:
    """Return the name of the published weights that a file is a copy of: they expect the same pictures anywhere."""
    if not path.is_file():
        return None
    digest = file_digest(path)
    return next((known for known, file in weight_files(name).items() if digest.startswith(file.digest_prefix)), None)


def _of_file(name: str, path: Path, known_as: str | None) -> Pretrained:
    tensors = read_tensors(path)
    stages = _fitting_stages(name, tensors, path)
    if name == "vgg16":
        convolutions = {key: tensor for key, tensor in tensors.items() if key.startswith("features.")}
        if digest_of_tensors(convolutions) == original_vgg16.DIGEST:
            return Pretrained(str(path), stages, tensors, _expected_by_the_original())
    expects = {"mean": IMAGENET_MEAN, "std": IMAGENET_STD, "margin": MARGINS.get(known_as or "", USUAL_MARGIN)}
    return Pretrained(str(path), stages, tensors, expects)


def _of_folder(name: str, folder: Path) -> Pretrained:
    """Read the network out of a model that a run left: below ``stages/`` under torchvision's names."""
    if folder.name in _names(name):
        raise UsageError(
            f"backbone.weights: {folder.name} is a folder here; it hides the name {folder.name!r}",
            where=str(folder),
            hint="rename the folder, or run from another one",
        )
    model = folder / "model" if (folder / "model").is_dir() else folder
    if not (model / "artifact.json").is_file():
        raise UsageError(
            f"backbone.weights: {folder.name} is a folder without the model of a finished run",
            where=str(folder),
            hint="give the folder of a finished run, or a .safetensors or .pth file",
        )
    path, own = model / "model.safetensors", f"backbone/{KEPT}"
    listed = verify_folder(model)["files"]
    if own not in listed or path.name not in listed:
        raise WeightsError(f"the model holds no network of this plugin: its manifest lists no {own}", where=str(model))
    kept = kept_by(model / "backbone", name)
    prefixes = {key: f"stages/{stage}/" for key, (stage, _) in expected_tensors(name).items()}
    tensors = {}
    for full, tensor in read_tensors(path).items():
        key = full.rpartition("/")[2]
        if full.startswith("stages/"):  # the rest is another task's head
            tensors[key if full == f"{prefixes.get(key)}{key}" else full] = tensor
    return Pretrained(str(path), _fitting_stages(name, tensors, path), tensors, kept=kept["preparation"])


def _fitting_stages(name: str, tensors: dict[str, Tensor], path: Path) -> tuple[str, ...]:
    """Return the stages that these tensors have; add the counters of batches that old checkpoints do not hold.

    Raises:
        WeightsError: a tensor has no place in the network or another shape, or one is missing in between.
    """
    faults = _faults(name, tensors)
    if faults:
        fits = next((other for other in ARCHITECTURES if not _faults(other, tensors)), None)
        count = "1 tensor differs" if len(faults) == 1 else f"{len(faults)} tensors differ"
        raise WeightsError(
            f"the weights do not fit {name}: {count}" + (f"; they are those of {fits}" if fits else ""),
            where=f"{path}\n{_table(faults, path.name, name)}",
            hint=f"write `name: {fits}`, or give other weights"
            if fits
            else "give a whole checkpoint with torchvision's names; only its last layer may be missing or differ",
        )
    stages = _stages_in(name, tensors)
    for key in _counters(name) - tensors.keys():
        tensors[key] = torch.tensor(0)
    return stages


def _counters(name: str) -> set[str]:
    return {key for key in expected_tensors(name) if key.endswith(".num_batches_tracked")}


def _stages_in(name: str, tensors: Mapping[str, Tensor]) -> tuple[str, ...]:
    """Return the stages up to the last one of which there is a tensor; the first one is always among them."""
    present = {stage for key, (stage, _) in expected_tensors(name).items() if key in tensors}
    names = _stage_names(name)
    return names[: max((names.index(stage) for stage in present), default=0) + 1]


def _faults(name: str, tensors: Mapping[str, Tensor]) -> list[tuple[str, str, str]]:
    """Return name, shape in the file and needed shape of each tensor that keeps a file from being this network's."""
    expected = expected_tensors(name)
    classifier = CLASSIFIERS[ARCHITECTURES[name].family]
    stages = _stages_in(name, tensors)
    faults = [
        (key, _shape(tuple(tensor.shape)), _shape(expected[key][1]) if key in expected else "none")
        for key, tensor in tensors.items()
        if key not in classifier and (key not in expected or tuple(tensor.shape) != expected[key][1])
    ]
    counters = _counters(name)
    faults += [
        (key, "missing", _shape(shape))
        for key, (stage, shape) in expected.items()
        if stage in stages and key not in tensors and key not in counters
    ]
    place = {key: n for n, key in enumerate(expected)}
    return sorted(faults, key=lambda fault: (place.get(fault[0], len(place)), fault[0]))


def _shape(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "a number"


def _table(faults: list[tuple[str, str, str]], file: str, name: str) -> str:
    rows = [("tensor", f"in {file}", f"in {name}"), *((key[:60], *shapes) for key, *shapes in faults[:TABLE_ROWS])]
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    lines = [f"  {one:<{widths[0]}}  {two:<{widths[1]}}  {three}" for one, two, three in rows]
    return "\n".join(lines + ([f"  … and {len(faults) - TABLE_ROWS} more"] if len(faults) > TABLE_ROWS else []))
