"""The split-conformal threshold: a promised rate of false alarms, whatever the scores are."""

from __future__ import annotations

import math
from numbers import Real

import numpy as np

# 100 * 0.29 is 28.999999999999996 in binary, of which `floor` would make 28.
ROUNDING = 1e-9


def conformal_threshold(scores, false_positive_rate: float) -> float:
    """The threshold that a new normal sample exceeds with at most this probability.

    It is the k-th smallest of the n scores, k = ceil((n + 1) (1 - rate)). The promise needs no
    model of the scores. It needs scores of samples that are like the new ones and that nothing
    was fitted to, and it holds on average over draws of such n samples.

    Args:
        scores: Array (n,), one score for each normal sample, larger where it is stranger.
        false_positive_rate: Between 0 and 1.

    Returns:
        The threshold.

    Raises:
        ValueError: if the rate is not between 0 and 1, if the scores are too few for it, or if
            they hold NaN.

    Example:

    >>> aezoo.anomaly.conformal_threshold(np.arange(1.0, 100.0), 0.05)
    95.0

    Reference:
        Papadopoulos, Proedrou, Vovk, Gammerman, 2002, "Inductive Confidence Machines for
        Regression", https://doi.org/10.1007/3-540-36755-1_29
    """
    rate = check_rate(false_positive_rate)
    try:
        scores = np.asarray(scores, "float64")
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"`scores` must be one number per sample. Received: a {type(scores).__name__}"
        ) from error
    if scores.ndim != 1 or np.isnan(scores).any():
        raise ValueError(
            "`scores` must be one number per sample. Received: "
            f"{'NaN' if scores.ndim == 1 else f'an array of shape {scores.shape}'}"
        )
    # Of n + 1 exchangeable scores, that of the new sample has each rank with the same probability,
    # so it is among the `above` largest with probability `above` / (n + 1), at most the rate.
    above = math.floor((len(scores) + 1) * rate + ROUNDING)
    # With fewer samples k would be n + 1, and the threshold infinite: kept by never alarming.
    if above < 1:
        raise ValueError(
            f"`false_positive_rate` {rate:g} must be calibrated on at least "
            f"{math.ceil(1 / rate - ROUNDING) - 1} normal samples. Received: {len(scores)}"
        )
    # The k-th smallest, k = n + 1 - above, has the index k - 1.
    return float(np.partition(scores, len(scores) - above)[len(scores) - above])


def check_rate(rate) -> float:
    if isinstance(rate, bool) or not isinstance(rate, Real) or not 0 < rate < 1:
        raise ValueError(
            f"`false_positive_rate` must be a number between 0 and 1. Received: {rate!r}"
        )
    return float(rate)
