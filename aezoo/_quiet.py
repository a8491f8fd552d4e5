"""Silence for a warning that means nothing here."""

import contextlib
import logging


@contextlib.contextmanager
def without_retracing_warnings():
    """TensorFlow counts the first calls of several models' `predict` as retracing of one."""
    logger = logging.getLogger("tensorflow")
    logger.addFilter(_is_other)
    try:
        yield
    finally:
        logger.removeFilter(_is_other)


def _is_other(record) -> bool:
    return "triggered tf.function retracing" not in record.getMessage()
