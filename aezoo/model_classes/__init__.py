"""The classes of models."""
