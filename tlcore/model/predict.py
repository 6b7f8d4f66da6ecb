"""A trained model that predicts."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from tlcore.contracts import Backbone, Example, Problem, Task
from tlcore.plugins.errors import plugin_errors

if TYPE_CHECKING:
    from accelerate import Accelerator
    from torch import Tensor

    from tlcore.features.keys import FeatureRequest
    from tlcore.features.preparation import FeatureRow
    from tlcore.training.model import TrainableModel

__all__ = ["Model"]

ROWS_AT_ONCE = 512


class Model:
    """A trained model, ready to predict."""

    def __init__(self, task: Task, backbone: Backbone, model: TrainableModel, accelerator: Accelerator) -> None:
        self.task = task
        self._backbone = backbone
        self._model = accelerator.prepare_model(model, evaluation_mode=True).eval()
        self._line = model.freeze_line
        self._accelerator = accelerator

    @plugin_errors()
    def predict(self, inputs: Sequence[Any]) -> list[dict[str, Any]]:
        """Return for each input what the task decodes: a classifier's prediction, confidence and probabilities.

        An input that cannot be read has a single key, ``problem``, with the reason; nothing takes its place.
        """
        examples = [Example(id=str(n), input=value) for n, value in enumerate(inputs)]
        found: list[dict[str, Any]] = [{} for _ in examples]
        outputs, problems = self.outputs(examples)
        for problem in problems:
            found[int(problem.id)] = {"problem": problem.reason}
        readable = [place for place, answer in enumerate(found) if not answer]
        decoded = self.task.decode(outputs) if readable else {}
        for row, place in enumerate(readable):
            found[place] = {name: values[row] for name, values in decoded.items()}
        return found

    def outputs(
        self, examples: Sequence[Example], progress: Callable[[int, int], None] = lambda done, total: None
    ) -> tuple[Tensor, list[Problem]]:
        """Return what the head gives for the examples that can be read, (N, outputs) in their order, and the others.

        Raises:
            NumericError: one is not finite.
        """
        import torch

        from tlcore.features.extractor import FeatureExtractor
        from tlcore.features.keys import FeatureRequest
        from tlcore.features.preparation import prepare_rows
        from tlcore.features.workers import preparing_threads
        from tlcore.training.nonfinite import require_finite_outputs

        reasons: dict[int, str] = {}
        requests = [FeatureRequest(str(place).encode(), example.id, example) for place, example in enumerate(examples)]

        def refuse(request: FeatureRequest, reason: str) -> None:
            reasons[int(request.key)] = reason

        rows = prepare_rows(
            self._backbone,
            requests,
            refuse,
            lambda done: progress(done, len(requests)),
            threads=preparing_threads(self._accelerator),
        )
        if self._line:
            rows = FeatureExtractor(self._backbone, self._line, self._accelerator).states(rows)
        found = {int(request.key): outputs for request, outputs in self._streamed(rows)}
        problems = [Problem(examples[place].id, reasons[place]) for place in sorted(reasons)]
        if not found:
            return torch.empty(0, self.task.outputs), problems
        outputs = torch.stack([found[place] for place in sorted(found)])
        require_finite_outputs(outputs, [examples[place].id for place in sorted(found)], self._model.parts())
        return outputs, problems

    def _streamed(self, rows: Iterator[FeatureRow]) -> Iterator[tuple[FeatureRequest, Tensor]]:
        """Yield the outputs for each state, in no particular order; only some states are in memory at a time."""
        import torch

        from tlcore.features.batching import length_of, stacked
        from tlcore.training.data import in_batches

        while chunk := list(itertools.islice(rows, ROWS_AT_ONCE)):
            chunk.sort(key=lambda row: length_of(row.state, row.ragged))  # so that there is little padding
            for batch in in_batches(chunk):
                state = stacked([row.state for row in batch], batch[0].ragged)
                state = {name: tensor.to(self._accelerator.device) for name, tensor in state.items()}
                with torch.inference_mode():
                    outputs = self._model(state).float().cpu()
                yield from zip((row.request for row in batch), outputs, strict=True)
