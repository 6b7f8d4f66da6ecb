"""Where the states of a store stand, by key: two sorted arrays, 40 bytes for each where a dict would take 200."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from tlcore.features.shards import KEY_BYTES

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray

__all__ = ["Places"]

ROW_BITS = 32


class Places:
    """The shard and the row of each key."""

    def __init__(self) -> None:
        import numpy

        self._keys = numpy.empty(0, f"S{KEY_BYTES}")
        self._found = numpy.empty(0, "int64")
        """Shard and row as one number, in the order of the keys."""

    def add(self, keys: Sequence[bytes], shards: Sequence[int], rows: Sequence[int]) -> None:
        """Take keys that are not there yet."""
        import numpy

        added = numpy.asarray(shards, "int64") << ROW_BITS | numpy.asarray(rows, "int64")
        together, found = numpy.concatenate([self._keys, _array(keys)]), numpy.concatenate([self._found, added])
        order = numpy.argsort(together, kind="stable")
        self._keys, self._found = together[order], found[order]

    def missing(self, keys: Collection[bytes]) -> set[bytes]:
        """Return those that are not there."""
        if not len(self._keys):
            return set(keys)
        asked = list(keys)
        return {key for key, known in zip(asked, self._known(_array(asked))[1].tolist(), strict=True) if not known}

    def of(self, keys: Sequence[bytes]) -> tuple[NDArray[numpy.int64], NDArray[numpy.int64]]:
        """Return the shard and the row of each key.

        Raises:
            KeyError: one is not there.
        """
        at, known = self._known(_array(keys))
        if not known.all():
            raise KeyError(keys[int(known.argmin())])
        found = self._found[at]
        return found >> ROW_BITS, found & ((1 << ROW_BITS) - 1)

    def _known(self, keys: NDArray[numpy.bytes_]) -> tuple[NDArray[numpy.int64], NDArray[numpy.bool_]]:
        """Return where each key would stand, and whether it does."""
        import numpy

        if not len(self._keys):
            return numpy.zeros(len(keys), "int64"), numpy.zeros(len(keys), bool)
        at = self._keys.searchsorted(keys).clip(max=len(self._keys) - 1)
        return at, self._keys[at] == keys


def _array(keys: Sequence[bytes]) -> NDArray[numpy.bytes_]:
    import numpy

    return numpy.frombuffer(b"".join(keys), f"S{KEY_BYTES}")
