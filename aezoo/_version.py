"""The version of this release."""

__version__ = "0.1.0"
REPOSITORY = "https://github.com/aezoo/aezoo"  # what installs, badges and notebooks name
