"""`python -m aezoo`: the command line."""

from aezoo.cli.app import main

# Without a guard, as `multiprocessing` does not run a `__main__` module again in its children.
main()
