"""``python -m lrsched_cli``."""

from lrsched_cli.cli.app import main

main()
