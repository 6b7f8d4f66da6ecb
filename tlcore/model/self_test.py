"""What a saved model must still say of a few inputs, so that a change of preparation, library or weights is noticed.

The inputs are the backbone's own samples, never anything of the training data. Both times the whole network computes
on the CPU in fp32, whatever it was trained in: the figures must agree wherever the model is loaded.
"""

from __future__ import annotations

import base64
import copy
import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlcore.contracts import Backbone, Example
from tlcore.errors import UnreadableError, WeightsError
from tlcore.files.digests import digest_of_tensors
from tlcore.notes import note
from tlcore.specs import BackboneSpec

if TYPE_CHECKING:
    from torch import Tensor, nn

    from tlcore.training.model import TrainableModel

__all__ = ["head_digest", "record_self_test", "require_same_outputs"]

MOST_EXAMPLES = 2
FEATURES = 32
"""How many of an example's features are kept: enough to see a change that the head would not show."""
TOLERANCE = 1e-3
"""Relative to the largest value; processors and libraries differ in fp32 by a hundredth of it."""
HINT = "use the versions that the run's manifest.json names, or repeat the run"


def record_self_test(folder: Path, spec: BackboneSpec, backbone: Backbone, model: TrainableModel) -> dict[str, Any]:
    """Write samples into ``folder``, which is made, and return them with what the network says of them (JSON-able).

    A backbone that offers none, or none that can be kept, leaves a model that does not test itself; a note says so.
    """
    folder.mkdir()
    try:
        inputs = [_written(example.input, folder) for example in list(spec.samples(folder))[:MOST_EXAMPLES]]
        found = _said(backbone, model, [_read(one, folder) for one in inputs]) if inputs else {}
    except Exception as error:  # the samples are a plugin's, and a finished training must not be lost by them
        note(f"the saved model will not test itself: {type(error).__name__}: {error}")
        inputs, found = [], {}
    kept = {one.get("file") for one in inputs}
    for path in folder.iterdir():
        if path.name not in kept:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    return {"inputs": inputs, **{name: values.tolist() for name, values in found.items()}}


def require_same_outputs(folder: Path, recorded: Mapping[str, Any], backbone: Backbone, model: TrainableModel) -> None:
    """Compute the recorded inputs again, and refuse a model that says something else of them.

    Raises:
        WeightsError: the outputs or the features differ, or what was recorded is damaged.
    """
    import torch

    try:
        inputs = [_read(dict(one), folder) for one in list(recorded["inputs"])[:MOST_EXAMPLES]]
        if not inputs:
            return
        expected = {name: torch.tensor(recorded[name], dtype=torch.float32) for name in ("features", "outputs")}
    except (KeyError, TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise WeightsError(f"the self-test is damaged: {type(error).__name__}: {error}", where=str(folder)) from error
    try:
        found = _said(backbone, model, inputs)
    except UnreadableError as error:
        raise WeightsError(f"self-test failed: {error}", where=str(folder), hint=HINT) from error
    for name, before in expected.items():
        now = found[name]
        if now.shape != before.shape:
            raise WeightsError(f"self-test failed: the model has {now.numel()} {name}, not {before.numel()}")
        scale = float(before.abs().max())
        difference = float((now - before).abs().max())
        if not difference <= TOLERANCE * scale:
            raise WeightsError(
                f"self-test failed: preparation or weights changed; the {name} differ by {difference:.3g}",
                where=f"{folder}: they were up to {scale:.3g}",
                hint=HINT,
            )


def head_digest(task_state: Mapping[str, Any], head: nn.Module) -> str:
    """Return the SHA-256 of a head together with what its outputs mean, such as the order of the classes."""
    written = json.dumps(json.loads(json.dumps(task_state)), sort_keys=True)
    return hashlib.sha256(f"{written} {digest_of_tensors(head.state_dict())}".encode()).hexdigest()


def _said(backbone: Backbone, model: TrainableModel, examples: Sequence[Example]) -> dict[str, Tensor]:
    """Return the first features (N, up to FEATURES) and the outputs (N, outputs), fp32."""
    import torch

    with torch.inference_mode():
        state = backbone.prepare(examples, None)
        trained = model.parts()
        for name, stage in backbone.stages.items():
            state = _on_cpu(trained.get(name, stage))(state)
        features = backbone.pool(state).float()
        outputs = _on_cpu(model.head)(_on_cpu(model.standardise)(features))
    if not bool(torch.isfinite(outputs).all()):
        raise WeightsError("self-test failed: the model gives outputs that are not finite")
    return {"features": features[:, :FEATURES].clone(), "outputs": outputs.float()}


def _on_cpu(module: nn.Module) -> nn.Module:
    if all(tensor.device.type == "cpu" for tensor in module.state_dict().values()):
        return module.eval()
    return copy.deepcopy(module).cpu().eval()


def _written(value: Any, folder: Path) -> dict[str, Any]:
    if isinstance(value, Path):
        return {"file": value.relative_to(folder).name}
    if isinstance(value, bytes):
        return {"base64": base64.b64encode(value).decode()}
    json.dumps(value, allow_nan=False)
    return {"value": value}


def _read(kept: Mapping[str, Any], folder: Path) -> Example:
    if "file" in kept:
        name = str(kept["file"])
        if Path(name).name != name or not (folder / name).is_file():
            raise ValueError(f"{name!r} is no file beside it")
        return Example(id=name, input=folder / name)
    if "base64" in kept:
        return Example(id="sample", input=base64.b64decode(kept["base64"], validate=True))
    return Example(id="sample", input=json.loads(json.dumps(kept["value"])))
