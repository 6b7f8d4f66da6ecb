"""Vectors of numbers as a modality: two tasks, a backbone and two data sources in one small package.

One of the tasks predicts a number, so that nothing in tlcore may assume classes.
"""

from dataclasses import dataclass
from pathlib import Path

import tlcore

TLCORE_API = 1


@dataclass(frozen=True, kw_only=True)
class BlobOptions:
    """Keys of ``data`` for ``blobs``."""

    classes: int = tlcore.option(3, "How many clusters there are.", ge=2)
    per_class: int = tlcore.option(60, "Points in each cluster.", ge=1)
    spread: float = tlcore.option(0.4, "Standard deviation around a cluster's centre.", gt=0)


@dataclass(frozen=True, kw_only=True)
class SlopeOptions:
    """Keys of ``data`` for ``slope``."""

    points: int = tlcore.option(200, "How many points there are.", ge=3)
    noise: float = tlcore.option(0.05, "Standard deviation of the height around the slope.", ge=0)


@dataclass(frozen=True, kw_only=True)
class PerceptronOptions:
    """Keys of ``backbone`` for ``perceptron``."""

    width: int = tlcore.option(16, "Width of the hidden layers.", ge=1)
    depth: int = tlcore.option(3, "How many layers there are.", ge=1)
    output: str | None = tlcore.option(None, "The last stage to use; the top one unless given.")


def build_classification(options):
    from outside_vectors.network import VectorClassification

    return VectorClassification()


def build_regression(options):
    from outside_vectors.network import VectorRegression

    return VectorRegression()


def build_backbone(options, saved):
    from outside_vectors.network import Perceptron

    return Perceptron(options)


def build_blobs(options):
    from outside_vectors.network import Blobs

    return Blobs(options)


def build_slope(options):
    from outside_vectors.network import Slope

    return Slope(options)


def samples(folder: Path):
    return [tlcore.Example(id=str(n), input=(0.1 * n, -0.2 * n)) for n in range(5)]


@tlcore.hookimpl
def tl_tasks():
    yield tlcore.TaskSpec(
        name="vector-classification",
        summary="One label for each vector.",
        modality="vector",
        build=build_classification,
        smoke=lambda folder: tlcore.NoOptions(),
    )
    yield tlcore.TaskSpec(
        name="vector-regression",
        summary="One number for each vector.",
        modality="vector",
        build=build_regression,
        smoke=lambda folder: tlcore.NoOptions(),
    )


@tlcore.hookimpl
def tl_backbones():
    yield tlcore.BackboneSpec(
        name="perceptron",
        summary="A stack of dense layers with random weights.",
        modality="vector",
        options=PerceptronOptions,
        build=build_backbone,
        smoke=lambda folder: PerceptronOptions(width=4, depth=2),
        samples=samples,
    )


@tlcore.hookimpl
def tl_data_sources():
    yield tlcore.DataSourceSpec(
        name="blobs",
        summary="Clusters of points in the plane.",
        modality="vector",
        options=BlobOptions,
        build=build_blobs,
        smoke=lambda folder: BlobOptions(classes=2, per_class=4),
    )
    yield tlcore.DataSourceSpec(
        name="slope",
        summary="Points in the plane, labelled with their height on a slope.",
        modality="vector",
        options=SlopeOptions,
        build=build_slope,
        smoke=lambda folder: SlopeOptions(points=5),
    )
