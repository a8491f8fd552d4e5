"""The version of this release, and of what it runs on."""

import importlib.metadata

__version__ = "0.1.0"
REPOSITORY = "https://github.com/aezoo/aezoo"  # what installs, badges and notebooks name


def versions() -> dict[str, str]:
    """What a file says that it was made with."""
    return {"aezoo": __version__, "keras": importlib.metadata.version("keras")}
