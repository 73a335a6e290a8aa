"""``python -m qdchar``."""

from qdchar.cli import main

main()
