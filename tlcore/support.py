"""Helpers for plugins: files that may come from anyone, weights with an identity, seeds for a purpose.

With ``tlcore`` and ``tlcore.testing`` this is the whole API for plugins; everything else may change without notice.
"""

from tlcore.data.splits import SPLIT_NAMES
from tlcore.errors import nearest_file
from tlcore.files.atomic import publish_file, verify_folder
from tlcore.files.digests import digest_of_tensors, file_digest
from tlcore.files.untrusted import read_object, read_text
from tlcore.randomness import derived_seed, generator, seeded
from tlcore.redaction import redacted
from tlcore.weights.loading import load_exactly, read_tensors, require_fit
from tlcore.weights.sources import distribution_file, download, hub_file

__all__ = [
    "SPLIT_NAMES",
    "derived_seed",
    "digest_of_tensors",
    "distribution_file",
    "download",
    "file_digest",
    "generator",
    "hub_file",
    "load_exactly",
    "nearest_file",
    "publish_file",
    "read_object",
    "read_tensors",
    "read_text",
    "redacted",
    "require_fit",
    "seeded",
    "verify_folder",
]
