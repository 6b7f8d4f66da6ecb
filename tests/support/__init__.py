"""What tests share: where the repository and the test packages are."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
OUTSIDE = ROOT / "tests" / "support" / "outside"
"""A package with a plugin for vectors, as its author would publish it."""
MISBEHAVING = ROOT / "tests" / "support" / "misbehaving"
