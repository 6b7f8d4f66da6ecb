"""Transfer learning: the frozen network is computed once, what lies above the line is trained.

Everything public is named here and imported when first asked for, so ``import tlcore`` costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

_HOMES = {
    "tlcore.hookspecs": ("API_VERSION", "hookimpl"),
    "tlcore.specs": (
        "ANY_MODALITY", "AdapterSpec", "BackboneSpec", "DataSourceSpec", "NoOptions", "Spec", "TaskSpec", "option",
    ),
    "tlcore.contracts": (
        "Adapter", "AugmentsInputs", "Backbone", "DataSource", "EpochFinished", "Evaluation", "Example",
        "FitsExamples", "HasColumns", "Injection", "MergesInjection", "Mistake", "ParameterGroup", "Phase", "Plan",
        "Problem", "RunFinished", "RunStarted", "Selection", "State", "Table", "Task", "UsesLibraries", "View",
        "WeighsExamples",
    ),
    "tlcore.errors": (
        "DataError", "NumericError", "PluginError", "RecipeError", "RecipeWarning", "ResourceError", "TLError",
        "UnreadableError",
        "UsageError", "WeightsError", "nearest",
    ),
    "tlcore.tasks.classification": ("Classification", "ClassificationOptions"),
    "tlcore.tasks.multilabel": ("MultiLabel", "MultiLabelOptions"),
    "tlcore.tasks.regression": ("Regression", "RegressionOptions"),
    "tlcore.tasks.standard": ("standard_tasks",),
    "tlcore.model.load": ("load",),
    "tlcore.model.predict": ("Model",),
    "tlcore.runs.context": ("Result",),
    "tlcore.runs.run": ("resume", "run"),
}  # fmt: skip
_HOME = {name: module for module, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME)

if TYPE_CHECKING:
    from tlcore.contracts import (
        Adapter,
        AugmentsInputs,
        Backbone,
        DataSource,
        EpochFinished,
        Evaluation,
        Example,
        FitsExamples,
        HasColumns,
        Injection,
        MergesInjection,
        Mistake,
        ParameterGroup,
        Phase,
        Plan,
        Problem,
        RunFinished,
        RunStarted,
        Selection,
        State,
        Table,
        Task,
        UsesLibraries,
        View,
        WeighsExamples,
    )
    from tlcore.errors import (
        DataError,
        NumericError,
        PluginError,
        RecipeError,
        RecipeWarning,
        ResourceError,
        TLError,
        UnreadableError,
        UsageError,
        WeightsError,
        nearest,
    )
    from tlcore.hookspecs import API_VERSION, hookimpl
    from tlcore.model.load import load
    from tlcore.model.predict import Model
    from tlcore.runs.context import Result
    from tlcore.runs.run import resume, run
    from tlcore.specs import (
        ANY_MODALITY,
        AdapterSpec,
        BackboneSpec,
        DataSourceSpec,
        NoOptions,
        Spec,
        TaskSpec,
        option,
    )
    from tlcore.tasks.classification import Classification, ClassificationOptions
    from tlcore.tasks.multilabel import MultiLabel, MultiLabelOptions
    from tlcore.tasks.regression import Regression, RegressionOptions
    from tlcore.tasks.standard import standard_tasks


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'tlcore' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
