"""The `Detector`: a score, a calibrated threshold, and one folder that holds both."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import pathlib
import warnings
from typing import Literal

import numpy as np

from aezoo._version import versions
from aezoo.anomaly._conformal import check_rate, conformal_threshold
from aezoo.anomaly._scores import SCORES
from aezoo.inputs.annotations import FixedSeed, Flag, Size, checked
from aezoo.inputs.arguments import check_number, check_path
from aezoo.inputs.arrays import as_array, batches, inputs_of, joined, samples_of, to_numpy
from aezoo.inputs.pixels import scale_pixels
from aezoo.model_classes.pooling import Pooling
from aezoo.model_classes.reconstruction_model import ReconstructionModel
from aezoo.saving.files import MODEL, make_folder, replacing
from aezoo.saving.load import load_model
from aezoo.saving.pretrained import opened_arrays, read_text, sha256_of

DETECTOR, ARRAYS = "detector.json", "detector.npz"


class Detector:
    """Finds samples that are unlike normal ones, with a promised rate of false alarms.

    Args:
        model: A trained `Autoencoder`.
        score: "reconstruction", the mean squared error; "mahalanobis", the squared
            Mahalanobis distance of the code to the mean of normal codes; "nearest", the mean
            distance of the code to the nearest normal ones; "likelihood", minus log p(x) of a
            variational autoencoder, in nats.
        neighbors: Number of neighbours for "nearest".
        pooling: For codes with positions, as in `aezoo.transfer.features`.
        batch_size: How many samples of an array go through at once.
        seed: Integer that fixes which normal samples estimate and which calibrate.

    Attributes:
        threshold: Scores above it are anomalies; None before `fit`.
        false_positive_rate: The rate that was promised.
        calibration_scores: Scores of the samples that calibrated, in ascending order.

    Raises:
        ValueError: if an argument is not of the kind above.

    Example:

    >>> x, labels = aezoo.data.arrays("digits", labels=True)
    >>> model = aezoo.pca_ae((8, 8, 1), 16)
    >>> zeros = x[labels == 0]
    >>> history = model.fit(zeros[:70], verbose=0)
    >>> detector = aezoo.anomaly.Detector(model).fit(zeros[70:], false_positive_rate=0.05)
    >>> (detector.predict(x[labels == 1]) == -1).mean() > 0.9
    np.True_
    """

    @checked
    def __init__(
        self,
        model: ReconstructionModel,
        score: Literal["reconstruction", "mahalanobis", "nearest", "likelihood"] = "reconstruction",
        *,
        neighbors: Size = 5,
        pooling: Pooling = None,
        batch_size: Size = 256,
        seed: FixedSeed = 0,
    ):
        if not isinstance(model, ReconstructionModel) or len(model.inputs) > 1:
            raise ValueError(
                f"`model` must be an Autoencoder that takes inputs alone. Received: {model!r}"
            )
        self.model, self.score_name, self.seed = model, score, seed
        self.neighbors, self.pooling, self.batch_size = neighbors, pooling, batch_size
        self.threshold: float | None = None
        self.false_positive_rate: float | None = None
        self.calibration_scores: np.ndarray | None = None
        self._score = SCORES[score](model, neighbors, pooling)

    @property
    def needs_reference(self) -> bool:
        """Whether the score compares with normal samples besides those that calibrate."""
        return self._score.needs_reference

    def fit(self, normal, false_positive_rate: float = 0.01, *, reference=None) -> Detector:
        """Calibrates the threshold on normal samples.

        A new normal sample is called an anomaly with a probability of at most
        `false_positive_rate`, on average over draws of `normal`.

        Args:
            normal: Array (samples, *input_shape), or a dataset of batches of it, that the model
                was not trained on; else the promise does not hold.
            false_positive_rate: Between 0 and 1; it needs 1 / rate - 1 samples to calibrate.
            reference: Normal samples that "mahalanobis" and "nearest" compare with; the
                training data can be used. None is half of `normal`, drawn at random; the other
                half calibrates.

        Returns:
            The detector itself.

        Raises:
            ValueError: if the data does not fit the model, or there are too few for the rate.
        """
        check_rate(false_positive_rate)
        measured = self._measure(normal)
        # The promise needs scores to which nothing was fitted, so a sample either estimates mean,
        # covariance or neighbours, or calibrates.
        if self.needs_reference:
            if reference is None:
                order = np.random.default_rng(self.seed).permutation(len(measured))
                half = len(measured) // 2
                known, measured = measured[order[:half]], measured[order[half:]]
            else:
                known = self._measure(reference)
            if not len(known) or not np.isfinite(known).all():
                raise ValueError(
                    "`reference`, or half of `normal`, must hold samples with finite codes. "
                    f"Received: {len(known)} samples"
                )
            self._score.fit(known)
        scores = np.sort(self._scores(measured))
        self.threshold = conformal_threshold(scores, false_positive_rate)
        self.false_positive_rate, self.calibration_scores = float(false_positive_rate), scores
        return self

    def anomaly_scores(self, x) -> np.ndarray:
        """How strange each sample is: array (samples,), infinite for one that holds NaN."""
        self._check_fitted()
        return self._scores(self._measure(x))

    def score(self, x) -> np.ndarray:
        """The former name of `anomaly_scores`, until release 0.3."""
        warnings.warn(
            "`Detector.score` is `anomaly_scores`, where larger is stranger, and goes with release "
            "0.3; `score_samples` has scikit-learn's sign",
            FutureWarning,
            stacklevel=2,
        )
        return self.anomaly_scores(x)

    def score_samples(self, x) -> np.ndarray:
        """How normal each sample is, as scikit-learn has it: minus `anomaly_scores`."""
        return -self.anomaly_scores(x)

    def decision_function(self, x) -> np.ndarray:
        """The threshold minus the score: array (samples,), negative for anomalies."""
        # The signs of scikit-learn's `IsolationForest`, whose larger values are normal.
        scores = self.anomaly_scores(x)
        # Apart, as the threshold may be infinite too, and their difference would be NaN.
        return np.where(np.isinf(scores), -np.inf, self.threshold - np.nan_to_num(scores))

    def predict(self, x) -> np.ndarray:
        """1 for normal samples and -1 for anomalies: array (samples,)."""
        return np.where(self.decision_function(x) < 0, -1, 1)

    def heat_map(self, x) -> np.ndarray:
        """Where the reconstruction is wrong: squared errors, averaged over channels.

        Args:
            x: Array (samples, *input_shape), or a dataset of batches of it.

        Returns:
            Array (samples, height, width); for series (samples, steps), for vectors
            (samples, features).
        """
        x, maps = self.model._checked(self.model, as_array(x)), []
        for batch in batches(x, self.batch_size):
            clean = to_numpy(scale_pixels(samples_of(batch)))
            squares = np.square(clean - self.model.predict_on_batch(inputs_of(batch)))
            maps.append(squares.mean(-1) if squares.ndim > 2 else squares)
        return joined(maps)

    @checked
    def save(self, folder: str | pathlib.Path, *, overwrite: Flag = False) -> pathlib.Path:
        """Saves model and threshold in one folder, which `load_detector` loads.

        Args:
            folder: Where model.keras, detector.npz and detector.json are written.
            overwrite: Whether an earlier detector in the folder may be replaced.

        Returns:
            The folder.

        Raises:
            ValueError: if the detector is not fitted, or the folder holds one.
        """
        self._check_fitted()
        folder = check_path("folder", folder)
        if (folder / DETECTOR).exists() and not overwrite:
            raise ValueError(
                f"`folder` must be new, or overwrite must be given. Received: {folder}"
            )
        make_folder(folder)
        arrays = {**self._score.arrays, "calibration_scores": self.calibration_scores}
        # The stack is left in reverse order, so all three take their places at the end, and
        # detector.json last. Until then an old one stays, whose sha256 refuse the new files.
        with contextlib.ExitStack() as files:
            paths = {
                name: files.enter_context(replacing(folder / name))
                for name in (DETECTOR, ARRAYS, MODEL)
            }
            self.model.save(paths[MODEL])
            with paths[ARRAYS].open("wb") as file:
                np.savez(file, **arrays)
            sha256 = {name: sha256_of(paths[name]) for name in (MODEL, ARRAYS)}
            content = self._content()
            # Its own too, so that a threshold that was edited or damaged is refused.
            sha256[DETECTOR] = _sha256_of(content)
            text = json.dumps({**content, "sha256": sha256}, indent=2)
            paths[DETECTOR].write_text(text + "\n")
        return folder

    def _content(self) -> dict:
        return {
            "score": self.score_name,
            "neighbors": self.neighbors,
            "pooling": self.pooling,
            "batch_size": self.batch_size,
            "seed": self.seed,
            "false_positive_rate": self.false_positive_rate,
            "threshold": self.threshold,
            "calibration_samples": len(self.calibration_scores),
            "versions": versions(),
        }

    def _measure(self, x):
        return self._score.measure(x, self.batch_size)

    def _scores(self, measured):
        # What is not finite cannot be scored, and scikit-learn refuses all samples for one of it.
        scores = np.full(len(measured), np.inf)
        whole = np.isfinite(measured.reshape(len(measured), -1)).all(1)
        if whole.any():
            scores[whole] = self._score.score(measured[whole])
        return scores

    def _check_fitted(self) -> None:
        if self.threshold is None:
            raise ValueError("`fit` must be called first. Received: a detector without threshold")


def load_detector(folder: str | pathlib.Path) -> Detector:
    """Loads what `Detector.save(folder)` wrote.

    Args:
        folder: A folder with detector.json, detector.npz and model.keras.

    Returns:
        The fitted `Detector`, with the same scores.

    Raises:
        FileNotFoundError: if there is no detector.json.
        ValueError: if the files are damaged, or do not belong together.
    """
    folder = check_path("folder", folder)
    if not (folder / DETECTOR).is_file():
        raise FileNotFoundError(f"`folder` must hold a {DETECTOR}. Received: {folder}")
    try:
        content = json.loads(read_text(folder / DETECTOR))
        if not isinstance(content, dict):
            raise TypeError(f"{DETECTOR} is no object")
        expected = content.pop("sha256", {})
        for name in (MODEL, ARRAYS):
            if sha256_of(folder / name) != expected.get(name):
                raise ValueError(f"the sha256 of {name} is not that of {DETECTOR}")
            # `json.dumps` of what was read gives the text that was hashed: floats are read exactly.
        if expected.get(DETECTOR) != _sha256_of(content):
            raise ValueError(f"{DETECTOR} is not as it was saved")
        with opened_arrays(folder / ARRAYS, "folder") as (shapes, found):
            # `save` does not compress, and each number takes a byte or more.
            if sum(map(math.prod, shapes.values())) > (folder / ARRAYS).stat().st_size:
                raise ValueError(f"the arrays of {ARRAYS} are larger than the file")
            if shapes.get("calibration_scores") != (content["calibration_samples"],):
                raise ValueError(f"{ARRAYS} does not hold the scores that {DETECTOR} counts")
            arrays = {key: found[key] for key in shapes}
        options = {key: content[key] for key in ("neighbors", "pooling", "batch_size", "seed")}
        detector = Detector(load_model(folder / MODEL), content["score"], **options)
        detector.calibration_scores = arrays.pop("calibration_scores")
        detector._score.arrays = arrays
        detector.false_positive_rate = check_rate(content["false_positive_rate"])
        detector.threshold = check_number("threshold", content["threshold"], -np.inf)
        # Arrays of a wrong name or shape fail here and not in the first `score`.
        detector._score.score(detector._score.example())
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        # Entries of wrong types fail in many ways; RecursionError is that of deeply nested JSON.
        raise ValueError(
            f"`folder` must hold a whole detector ({type(error).__name__}: "
            f"{str(error).split(' Received: ')[0].rstrip('.')}). Received: {folder}"
        ) from error
    return detector


def _sha256_of(entries: dict) -> str:
    # Sorted, as the order of entries in a file means nothing.
    return hashlib.sha256(json.dumps(entries, sort_keys=True).encode()).hexdigest()
