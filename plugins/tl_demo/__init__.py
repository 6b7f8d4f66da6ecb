"""A demo data set: street scenes with vehicles in five classes, drawn by code."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tlcore import DataSourceSpec, hookimpl, option

if TYPE_CHECKING:
    from tlcore import DataSource

TLCORE_API = 1


@dataclass(frozen=True, kw_only=True)
class DrawnVehiclesOptions:
    """Keys of ``data`` for ``drawn-vehicles``."""

    count: int = option(1000, "How many pictures; asking for more keeps the earlier ones as they are.", ge=1)
    seed: int = option(0, "Another seed draws other pictures.")
    size: int = option(224, "Width and height of a picture in pixels.", ge=32)


@hookimpl
def tl_data_sources() -> Iterable[DataSourceSpec]:
    """Offer the drawn vehicles."""
    yield DataSourceSpec(
        name="drawn-vehicles",
        summary="Street scenes in five classes of vehicles, drawn on the spot: no file, no network.",
        modality="image",
        options=DrawnVehiclesOptions,
        build=_drawn_vehicles,
        smoke=lambda folder: DrawnVehiclesOptions(count=15, size=64),
    )


def _drawn_vehicles(options: DrawnVehiclesOptions) -> DataSource:
    from tl_demo.drawn_vehicles import DrawnVehicles

    return DrawnVehicles(options)
