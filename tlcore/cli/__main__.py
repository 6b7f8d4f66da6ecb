"""`python -m tlcore.cli` is `tl`."""

from tlcore.cli import main

main()
