"""The feature cache: what the frozen stages compute, once for every example, and the readers of it."""
