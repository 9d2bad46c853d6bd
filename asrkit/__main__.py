"""``python -m asrkit``."""

from asrkit.cli import main

main()
