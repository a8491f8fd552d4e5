"""A model zoo of autoencoders for Keras 3."""

from typing import TYPE_CHECKING

from aezoo._version import __version__ as __version__

if TYPE_CHECKING:
    from aezoo._public import *  # noqa: F403  what editors complete


def __getattr__(name):
    """A public name; the first use of one imports Keras, which `aezoo --help` does not need."""
    # The import below looks here for `_public` first, and without this check would never end.
    if not name.startswith("_"):
        from aezoo import _public

        if hasattr(_public, name):
            return getattr(_public, name)
    raise AttributeError(f"module 'aezoo' has no attribute {name!r}")


def __dir__():
    from aezoo import _public

    return ["__version__", *(name for name in vars(_public) if not name.startswith("_"))]
