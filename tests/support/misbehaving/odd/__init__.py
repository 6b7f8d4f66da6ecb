"""A plugin whose parts misbehave as their option says, and whose hooks spoil whatever they hear of."""

from dataclasses import dataclass

import tlcore

TLCORE_API = 1


@dataclass(frozen=True, kw_only=True)
class Fault:
    """The one key of each part."""

    fault: str = tlcore.option("none", "What is wrong.")


def build(kind):
    def built(options, saved=None):
        from odd.parts import part

        return part(kind, options.fault)

    return built


def smoke(folder):
    return Fault()


def samples(folder):
    return [tlcore.Example(id=str(n), input=(0.1 * n, -0.2 * n)) for n in range(2)]


COMMON = {"name": "odd", "summary": "Misbehaves.", "options": Fault, "smoke": smoke}


@tlcore.hookimpl
def tl_tasks():
    yield tlcore.TaskSpec(modality="vector", build=build("task"), **COMMON)


@tlcore.hookimpl
def tl_backbones():
    yield tlcore.BackboneSpec(modality="vector", build=build("backbone"), samples=samples, **COMMON)


@tlcore.hookimpl
def tl_adapters():
    yield tlcore.AdapterSpec(build=build("adapter"), **COMMON)


@tlcore.hookimpl
def tl_data_sources():
    yield tlcore.DataSourceSpec(modality="vector", build=build("data"), **COMMON)


@tlcore.hookimpl
def tl_run_started(event):
    event.recipe.clear()


@tlcore.hookimpl
def tl_epoch_finished(event):
    event.record.clear()


@tlcore.hookimpl
def tl_run_finished(event):
    event.metrics.clear()
    raise SystemExit(0)
