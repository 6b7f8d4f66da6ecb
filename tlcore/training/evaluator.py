"""Validation: the outputs and metrics of the model, and the record of each epoch."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from accelerate.utils import send_to_device

from tlcore.contracts import Example, Task
from tlcore.distributed.team import Team
from tlcore.errors import TLError
from tlcore.plugins.errors import broken
from tlcore.plugins.validation import decoded, encoded, evaluated, mistakes_of
from tlcore.training.data import EpochReaders, by_length, in_batches
from tlcore.training.model import TrainableModel
from tlcore.training.nonfinite import require_finite_outputs
from tlcore.training.state import TrainingResult

if TYPE_CHECKING:
    from accelerate import Accelerator
    from torch import Tensor, nn

__all__ = ["Evaluator"]

DRY_RUN_EXAMPLES = 64
TOLERANCE = 1e-9


@dataclass(frozen=True)
class Evaluator:
    """Evaluates the model, as it is now, on examples."""

    unwrapped: TrainableModel
    model: nn.Module
    readers: EpochReaders
    task: Task
    accelerator: Accelerator
    team: Team

    def outputs(self, examples: Sequence[Example]) -> Tensor:
        """Return the outputs (N, outputs) for the examples in their order, fp32 on the CPU.

        Raises:
            NumericError: one is not finite.
        """
        ids = [example.id for example in examples]
        trains_stages = bool(self.unwrapped.active_stages)
        outputs = self.team.joined(ids, self._outputs) if trains_stages else self._outputs(ids)
        require_finite_outputs(outputs, ids, self.unwrapped.parts())
        return outputs

    def metrics(self, examples: Sequence[Example]) -> Mapping[str, Any]:
        """Return the task's metrics on these examples."""
        return evaluated(self.task, self.outputs(examples), self._targets(examples)).metrics

    def evaluate_epoch(
        self,
        result: TrainingResult,
        validation: Sequence[Example],
        train_metrics: Mapping[str, float],
        lr: float,
        started: float,
    ) -> dict[str, Any]:
        """Evaluate an epoch on the validation split; add its record to the result, and return it.

        ``started`` is the time of the performance counter at the epoch's start.
        """
        epoch = len(result.history) + 1
        self.team.agree_on_buffers(self.unwrapped)
        if epoch == 1:
            self._dry_run_decode(validation[:DRY_RUN_EXAMPLES])
        metrics = self.metrics(validation)
        score = self._score(metrics)
        is_best = math.isnan(result.best_score) or self.is_better(score, result.best_score)
        if is_best:
            result.best_epoch, result.best_score = epoch, score
        record = {
            "epoch": epoch,
            "train": dict(train_metrics),
            "validation": {name: value for name, value in metrics.items() if isinstance(value, (int, float))},
            "selected": self.task.selection.metric,
            "lr": lr,
            "seconds": round(time.perf_counter() - started, 3),
            "best": is_best,
        }
        result.history.append(record)
        return record

    def is_better(self, score: float, best: float) -> bool:
        """Compare two values of the metric that selects the best epoch."""
        return score > best if self.task.selection.higher_is_better else score < best

    def require_score(self, validation: Sequence[Example], expected: float) -> None:
        """Compare the score of the reloaded best epoch with the one that it had.

        Raises:
            PluginError: the task's own metrics differ from call to call.
            TLError: the score is another one.
        """
        score = self._score(self.metrics(validation))
        if abs(score - expected) <= TOLERANCE:
            return
        if self._score(self.metrics(validation)) != score:
            raise broken(self.task, "evaluate", "returns other metrics for the same outputs")
        raise TLError(f"the reloaded best epoch scores {score}, not {expected}", hint="please report this as a bug")

    @torch.inference_mode()
    def _outputs(self, ids: Sequence[str]) -> Tensor:
        self.model.eval()
        reader, device = self.readers.current, self.accelerator.device
        order = by_length(reader, ids)
        batches = in_batches([ids[index] for index in order])
        with reader.prefetch(batches):
            states = (send_to_device(reader.batch(batch), device) for batch in batches)
            outputs = torch.cat([self.model(state).float().cpu() for state in states])
        return torch.empty_like(outputs).index_copy_(0, torch.tensor(order), outputs)

    def _score(self, metrics: Mapping[str, Any]) -> float:
        return float(metrics[self.task.selection.metric])

    def _targets(self, examples: Sequence[Example]) -> Tensor:
        return encoded(self.task, [example.label for example in examples])

    def _dry_run_decode(self, examples: Sequence[Example]) -> None:
        """Call what is otherwise called after all training, so that a broken task fails in the first epoch."""
        outputs = self.outputs(examples)
        decoded(self.task, outputs)
        mistakes_of(self.task, outputs, self._targets(examples))
