"""Where the states of a feature cache lie, by key: two sorted arrays, 40 bytes for each where a dict would take 200."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from tlcore.features.shards import KEY_BYTES

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray

__all__ = ["KeyIndex"]

ROW_BITS = 32


class KeyIndex:
    """The shard and the row of each key."""

    def __init__(self) -> None:
        import numpy

        self._keys = numpy.empty(0, f"S{KEY_BYTES}")
        self._locations = numpy.empty(0, "int64")
        """Shard and row as one number, in the order of the keys."""

    def add(self, keys: Sequence[bytes], shards: Sequence[int], rows: Sequence[int]) -> None:
        """Add keys that are not in the index yet."""
        import numpy

        new = numpy.asarray(shards, "int64") << ROW_BITS | numpy.asarray(rows, "int64")
        merged, locations = numpy.concatenate([self._keys, _array(keys)]), numpy.concatenate([self._locations, new])
        order = numpy.argsort(merged, kind="stable")
        self._keys, self._locations = merged[order], locations[order]

    def missing(self, keys: Collection[bytes]) -> set[bytes]:
        """Return the keys that are not in the index."""
        if not len(self._keys):  # no copy of millions of keys
            return set(keys)
        _, known = self._search(_array(keys))
        return {key for key, is_known in zip(keys, known.tolist(), strict=True) if not is_known}

    def locate(self, keys: Sequence[bytes]) -> tuple[NDArray[numpy.int64], NDArray[numpy.int64]]:
        """Return the shard and the row of each key.

        Raises:
            KeyError: one is not in the index.
        """
        positions, known = self._search(_array(keys))
        if not known.all():
            raise KeyError(keys[int(known.argmin())])
        locations = self._locations[positions]
        return locations >> ROW_BITS, locations & ((1 << ROW_BITS) - 1)

    def _search(self, keys: NDArray[numpy.bytes_]) -> tuple[NDArray[numpy.int64], NDArray[numpy.bool_]]:
        """Return the position of each key in the sorted array, and whether it is there."""
        positions = self._keys.searchsorted(keys)
        known = positions < len(self._keys)
        known[known] = self._keys[positions[known]] == keys[known]
        return positions, known


def _array(keys: Collection[bytes]) -> NDArray[numpy.bytes_]:
    import numpy

    return numpy.frombuffer(b"".join(keys), f"S{KEY_BYTES}")
