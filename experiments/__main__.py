"""``python -m experiments`` is ``gazedx``."""

from .cli import main

main()
