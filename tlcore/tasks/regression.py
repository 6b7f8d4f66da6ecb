"""A number for each example, for any modality."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from tlcore.contracts import Evaluation, Example, Selection, Table, Task
from tlcore.errors import DataError
from tlcore.specs import option

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Regression", "RegressionOptions"]

MOST_POINTS = 1000
"""So many examples are shown as points of truth and prediction, evenly taken."""
TINIEST, HUGEST = 1e-150, 1e150
"""The square of a smaller or larger deviation is no number."""


@dataclass(frozen=True, kw_only=True)
class RegressionOptions:
    """Keys of ``task`` for numbers."""

    loss: Literal["mse", "mae", "huber"] = option(
        "mse", "What is minimised, in deviations of the training targets: squares, absolute errors, or Huber's mixture."
    )


class Regression(Task):
    """A number for each example, learnt in units of the training targets' deviation and told in the data's own."""

    selection = Selection("mae", higher_is_better=False)
    outputs = 1

    def __init__(self, options: RegressionOptions | None = None, preview: Callable[[Any], str | bytes] = str) -> None:
        self.options = options or RegressionOptions()
        self._preview = preview
        self._mean = 0.0
        self._deviation = 1.0
        self._median = 0.0

    def fit(self, labels: Sequence[Any]) -> dict[str, float]:
        """Learn mean, deviation and median of the training targets.

        Raises:
            DataError: a label that is no finite number, or nothing to learn since all are the same.
        """
        import numpy

        values = numpy.array([_number(label) for label in labels])
        if not len(values) or values.min() == values.max():
            raise DataError(
                f"every training example has the value {values[0]:g}" if len(values) else "no training labels",
                hint="check the label column",
            )
        with numpy.errstate(over="ignore", invalid="ignore"):
            found = {"mean": values.mean(), "deviation": values.std(), "median": numpy.median(values)}
        state = {name: float(value) for name, value in found.items()}
        if not TINIEST < state["deviation"] < HUGEST:
            raise DataError(
                f"the training examples' values, from {values.min():g} to {values.max():g}, are beyond computing",
                hint="give them in another unit",
            )
        self.restore(state)
        return state

    def restore(self, state: Mapping[str, Any]) -> None:
        """Set the scale as ``fit`` left it."""
        self._mean, self._deviation, self._median = (float(state[key]) for key in ("mean", "deviation", "median"))

    def encode(self, labels: Sequence[Any]) -> Tensor:
        """Return the targets (N,) in deviations from the mean, fp32.

        Raises:
            DataError: a label that is no finite number.
        """
        import torch

        values = torch.tensor([_number(label) for label in labels], dtype=torch.float64)
        return ((values - self._mean) / self._deviation).float()

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean loss, in deviations; outputs (N, 1), targets (N,) or, when blended, (N, 1)."""
        from torch.nn import functional

        guesses, truth = outputs.float().reshape(-1), targets.float().reshape(-1)
        if self.options.loss == "mae":
            return functional.l1_loss(guesses, truth)
        return (
            functional.huber_loss(guesses, truth)
            if self.options.loss == "huber"
            else functional.mse_loss(guesses, truth)
        )

    def decode(self, outputs: Tensor) -> dict[str, list[Any]]:
        """Return the predicted numbers."""
        return {"prediction": self._told(outputs.reshape(-1)).tolist()}

    def evaluate(self, outputs: Tensor, targets: Tensor) -> Evaluation:
        """Score predictions beside always guessing the median; R² is left out where the truth does not vary."""
        import numpy

        truth = self._told(targets.reshape(-1)).cpu().numpy()
        guesses = self._told(outputs.reshape(-1)).cpu().numpy()
        squares = float(((truth - guesses) ** 2).mean())
        # Where the truth does not vary, its mean may still differ from it by a rounding error.
        spread = float(((truth - truth.mean()) ** 2).mean()) if truth.min() < truth.max() else 0.0
        metrics: dict[str, Any] = {
            "n": len(truth),
            "loss": squares / self._deviation**2,
            "mae": float(numpy.abs(truth - guesses).mean()),
            "rmse": math.sqrt(squares),
        }
        if spread > 0:
            metrics["r2"] = 1 - squares / spread
        metrics["baseline"] = {"guess": self._median, "mae": float(numpy.abs(truth - self._median).mean())}
        picked = numpy.unique(numpy.linspace(0, len(truth) - 1, min(len(truth), MOST_POINTS)).round().astype(int))
        points = tuple(zip(truth[picked].tolist(), guesses[picked].tolist(), strict=True))
        return Evaluation(metrics=metrics, tables={"scatter": Table(("truth", "prediction"), points)})

    def mistakes(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the absolute error of each prediction, in the data's unit."""
        errors = (outputs.double().reshape(-1) - targets.double().reshape(-1)).abs()
        # What single precision loses on the way to a number and back is no mistake.
        return (errors * (errors > 1e-6)) * self._deviation

    def preview(self, example: Example) -> str | bytes:
        """Return the input as ``preview`` shows it: as text unless another function was given."""
        return self._preview(example.input)

    def _told(self, values: Tensor) -> Tensor:
        return values.double() * self._deviation + self._mean


def _number(label: Any) -> float:
    try:
        # Python would read 1_000 as a number; a table that says so means something else.
        value = math.nan if isinstance(label, bool) or "_" in str(label) else float(label)
    except (TypeError, ValueError):
        value = math.nan
    if not math.isfinite(value):
        raise DataError(
            f"the label {label!r} is no number",
            hint="a regression needs numbers with a decimal point, such as 3.5; for names use a classification task",
        )
    return value
