"""A run from recipe to report, and what surrounds it: resume, reproduce, preflight, provenance."""
