"""Drawn vehicles: a data source that needs no file, made of little street scenes in five classes."""

from __future__ import annotations

from collections.abc import Iterator

from tl_demo import DrawnVehiclesOptions
from tl_demo.scene import draw
from tlcore import DataSource, Example

__all__ = ["DrawnVehicles"]


class DrawnVehicles(DataSource):
    """Pictures drawn while they are asked for. The input of an example is a JPEG's bytes."""

    def __init__(self, options: DrawnVehiclesOptions) -> None:
        self.options = options

    def examples(self) -> Iterator[Example]:
        """Yield ``count`` pictures; picture n is the same whatever the count."""
        seed = self.options.seed
        for number in range(self.options.count):
            label, picture = draw(seed, number, self.options.size)
            yield Example(id=f"drawn-{seed}-{number}", input=picture, label=label)
