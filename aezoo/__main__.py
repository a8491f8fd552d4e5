"""`python -m aezoo`: the command line."""

from aezoo.cli.app import main

main()
