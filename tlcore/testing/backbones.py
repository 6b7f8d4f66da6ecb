"""What tlcore relies on in a backbone, above all that a row depends on nothing but its own example."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tlcore.contracts import MASK, Backbone, Example, State, View
from tlcore.errors import UsageError
from tlcore.plugins.validation import pooled, prepared_by, require_backbone, require_state
from tlcore.specs import BackboneSpec
from tlcore.testing.promises import (
    are_equal,
    conformance,
    parameters_of,
    require,
    require_same_row,
    room,
    smoke_options,
)

__all__ = ["check_backbone"]


@conformance()
def check_backbone(spec: BackboneSpec, folder: Path) -> None:
    """Check a backbone on its own samples: description, preparation, stages, pooling, training, saving."""
    import torch

    options = smoke_options(spec, folder)
    samples = list(spec.samples(room(folder)))
    require(len(samples) > 1, "samples gives fewer than two examples, so rows cannot be compared")
    require(all(isinstance(one, Example) for one in samples), "samples gives something that is not an Example")
    backbone: Backbone = spec.build(options, None)
    _check_description(backbone)
    _check_preparation(backbone, samples)
    for stage in backbone.stages.values():
        stage.eval()
    with torch.inference_mode():
        _check_rows(backbone, samples)
        _check_saving(spec, options, backbone, samples, room(folder))
    _check_mixing(backbone, samples)
    _check_training(backbone, samples)


def _check_description(backbone: Backbone) -> None:
    require_backbone(backbone)
    require(isinstance(backbone.lora_targets, Mapping), "lora_targets is not a mapping")
    for name, targets in backbone.lora_targets.items():
        require(name in backbone.stages, f"lora_targets names {name!r}, which is not a stage")
        absent = set(targets) - set(dict(backbone.stages[name].named_modules()))
        require(not absent, f"lora_targets: stage {name} has no module {', '.join(sorted(absent))}")


def _check_preparation(backbone: Backbone, samples: Sequence[Example]) -> None:
    _check_prepared(backbone, samples, None, "prepare")
    view = View(seed=1, number=0)
    try:
        backbone.prepare(samples[:1], view)
    except UsageError:  # it has no augmented versions
        return
    _check_prepared(backbone, samples, view, "prepare with a view")


def _check_prepared(backbone: Backbone, samples: Sequence[Example], view: View | None, what: str) -> None:
    import torch

    from tlcore.features.batching import unstacked

    generators = (torch.random.get_rng_state(), random.getstate())
    state = prepared_by(backbone, samples, view)
    _check_mask(state, what)
    require(are_equal(state, backbone.prepare(samples, view)), f"{what} gives other values the second time")
    untouched = torch.equal(generators[0], torch.random.get_rng_state()) and generators[1] == random.getstate()
    require(untouched, f"{what} draws from a global random generator; draw from one made from view and id")
    for example, row in zip(samples, unstacked(state), strict=True):
        [alone] = unstacked(backbone.prepare([example], view))
        require_same_row(row, alone, f"{what}: example {example.id} differs when it is prepared alone")


def _check_rows(backbone: Backbone, samples: Sequence[Example]) -> None:
    """Check that a row is the same alone, beside others, padded, beside dummy rows, and after it was stored."""
    import torch

    from tlcore.features.batching import Buckets, ragged_names, unstacked

    prepared = backbone.prepare(samples)
    if MASK in prepared:
        lengths = {int(row.sum()) for row in prepared[MASK].bool()}
        require(len(lengths) > 1, "samples are all of one length, so that padding cannot be checked")
    before = parameters_of(backbone)
    states = dict(_steps(backbone, prepared))
    expected = {step: unstacked(state) for step, state in states.items()}
    values = [value for rows in expected.values() for row in rows for value in row.values()]
    require(all(bool(torch.isfinite(value).all()) for value in values), "a value for one of the samples is not finite")

    def compare(steps: Iterator[tuple[str, State]], numbers: Sequence[int], way: str) -> None:
        for step, state in steps:
            for n, row in zip(numbers, unstacked(state), strict=False):  # rows that fill up have no number
                require_same_row(expected[step][n], row, f"{step}: example {samples[n].id} differs when computed {way}")

    every = range(len(samples))
    compare(_steps(backbone, prepared), every, "a second time")
    for n in every:
        compare(_steps(backbone, backbone.prepare([samples[n]])), [n], "alone")
    buckets: Buckets[int] = Buckets(ragged_names(prepared))
    batches = [batch for n, row in enumerate(unstacked(prepared)) for batch in buckets.add(n, row)]
    for numbers, batch in [*batches, *buckets.rest()]:
        compare(_steps(backbone, batch), numbers, "in a batch that is padded and filled up with rows of zeros")
    compare(_from_store(backbone, list(states.values())), every, "from rows that were stored below it")
    require(are_equal(before, parameters_of(backbone)), "computing in evaluation mode changes parameters or buffers")


def _parts(backbone: Backbone) -> list[tuple[str, Callable[[State], State]]]:
    """Return each stage, then pool, as named functions from State to State."""

    def pool(state: State) -> State:
        return {"features": pooled(backbone, state)}

    return [*((f"stage {name}", stage) for name, stage in backbone.stages.items()), ("pool", pool)]


def _steps(backbone: Backbone, state: State) -> Iterator[tuple[str, State]]:
    """Yield the state after preparation, each stage, and pool."""
    count = len(next(iter(state.values())))
    yield "preparation", state
    for step, part in _parts(backbone):
        state = part({name: value.clone() for name, value in state.items()})
        require_state(backbone, step, state, count)
        _check_mask(state, step)
        yield step, state


def _from_store(backbone: Backbone, states: Sequence[State]) -> Iterator[tuple[str, State]]:
    """Yield each step computed from the stored rows below it; the top comes first, so none has just been run below."""
    from tlcore.features.batching import ragged_names, stacked, unstacked

    for (step, part), below in reversed(list(zip(_parts(backbone), states, strict=False))):
        yield step, part(stacked(unstacked(below), ragged_names(below)))


def _check_mask(state: State, what: str) -> None:
    if MASK not in state:
        return
    mask = state[MASK]
    require(bool(((mask == 0) | (mask == 1)).all()), f"{what}: mask holds more than 0 and 1")
    plain = [name for name, value in state.items() if value.dim() > 1 and value.shape[1] != mask.shape[1]]
    require(
        not plain,
        f"{what}: beside a mask (N, T) the second dimension of {', '.join(plain)} must be T: as it is, a batch "
        "whose T happens to be the same would be taken for ragged",
    )


def _check_saving(
    spec: BackboneSpec, options: Any, backbone: Backbone, samples: Sequence[Example], folder: Path
) -> None:
    from tlcore.features.batching import unstacked

    backbone.save(folder)
    again: Backbone = spec.build(options, folder)
    require(list(again.stages) == list(backbone.stages), "built from what save wrote, it has other stages")
    require(dict(again.preparation) == dict(backbone.preparation), "built from what save wrote, it prepares otherwise")
    for name, stage in backbone.stages.items():
        shapes, others = ({k: v.shape for k, v in one.state_dict().items()} for one in (stage, again.stages[name]))
        require(shapes == others, f"built from what save wrote, stage {name} has other parameters or buffers")
        again.stages[name].load_state_dict(stage.state_dict())
        again.stages[name].eval()
    found = _steps(again, again.prepare(samples))
    for (step, state), (_, other) in zip(_steps(backbone, backbone.prepare(samples)), found, strict=True):
        for one, row, again_row in zip(samples, unstacked(state), unstacked(other), strict=True):
            message = f"{step}: example {one.id} differs after save, build and loading all tensors"
            require_same_row(row, again_row, message)


def _check_mixing(backbone: Backbone, samples: Sequence[Example]) -> None:
    import torch

    targets = torch.eye(2)[torch.arange(len(samples)) % 2]
    try:
        state, mixed = backbone.mix(backbone.prepare(samples), targets, torch.Generator().manual_seed(0))
    except UsageError:
        return
    require_state(backbone, "mix", state, len(samples))
    _check_mask(state, "mix")
    require(mixed.shape == targets.shape, f"mix gives targets of the shape {tuple(mixed.shape)}")


def _check_training(backbone: Backbone, samples: Sequence[Example]) -> None:
    """Check that every stage that has parameters can be trained: a gradient reaches it."""
    import torch

    state = backbone.prepare(samples)
    for stage in backbone.stages.values():
        state = stage.train().requires_grad_(True)(state)
    pooled = backbone.pool(state)
    require(pooled.requires_grad or not parameters_of(backbone), "no gradient flows from pool into the stages")
    if pooled.requires_grad:
        pooled.square().sum().backward()
    for name, stage in backbone.stages.items():
        gradients = [parameter.grad for parameter in stage.parameters()]
        reached = [gradient for gradient in gradients if gradient is not None]
        require(bool(reached) or not gradients, f"no gradient reaches stage {name}: it could not be trained")
        finite = all(bool(torch.isfinite(gradient).all()) for gradient in reached)
        require(finite, f"a gradient in stage {name} is not finite")
