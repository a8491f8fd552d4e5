"""Which data a model is trained on, validated on and measured on."""

from __future__ import annotations

import dataclasses

from aezoo.data import load, splits
from aezoo.inputs.arguments import check_number
from aezoo.inputs.arrays import is_dataset


@dataclasses.dataclass
class Parts:
    """Datasets to train on, to validate on (or None), and to measure on at the end.

    `held_out` is the share of the source's training data that is not trained on.
    """

    training: object
    validation: object
    test: object
    evaluated_on: str
    held_out: float | None = None


def find_parts(data, validation, test, share, needs_validation, **options) -> Parts:
    """Training, validation and test data, and the name of the part that is measured."""
    if is_dataset(data):
        if share is not None:
            raise ValueError(
                "`validation_split` must be None where `data` is a dataset; pass validation_data. "
                f"Received: {share!r}"
            )
        training = data
    else:
        has_test = "test" in splits(data, options["data_dir"])
        # Something is held out only where it is needed: for early stopping, or to measure on where
        # there is no test data.
        needs_split = validation is None and (
            needs_validation or not (has_test or test is not None)
        )
        if share is None:
            share = 0.1 if needs_split else 0
        check_number("validation_split", share, 0, 0.99)
        # `load` takes None for no share, and refuses 0.
        share = share or None
        training = load(data, "train", validation_split=share, **options)
        # `limit` is a limit of training samples; validation and test data stay whole.
        options.pop("limit")
        if validation is None and share:
            # The complement of the training part: the same share is divided in the same order.
            validation = load(data, "validation", validation_split=share, **options)
        if test is None and has_test:
            test = load(data, "test", **options)
    if needs_validation and validation is None:
        raise ValueError(
            "`early_stopping` must have validation data. Received: validation_data=None"
        )
    # Data that nothing was fitted to come first; metrics.json says as `evaluated_on` what it was.
    if test is not None:
        return Parts(training, validation, test, "test", share)
    if validation is not None:
        return Parts(training, validation, validation, "validation", share)
    return Parts(training, None, training, "train")
