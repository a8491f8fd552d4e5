"""`aezoo detect`: calibrates a detector on normal data that a run held out, and scores a source."""

from __future__ import annotations

import csv
import sys

from aezoo.saving.files import CONFIG, make_folder, replacing
from aezoo.training.run_folder import RunFolder, names_source


def run_detect(run, source, out, normal, rate, score, split, limit, data_dir):
    from aezoo.anomaly import load_detector
    from aezoo.anomaly._detector import DETECTOR
    from aezoo.data._load import evaluation_split, with_names
    from aezoo.saving.load import image_size

    if (run / DETECTOR).is_file():
        given = {"--normal": normal, "--rate": rate, "--score": score}
        for option, value in given.items():
            if value is not None:
                raise ValueError(
                    f"`{option}` must be left out, as the detector of {run} is calibrated already. "
                    f"Received: {value!r}"
                )
        detector, folder = load_detector(run), run
    else:
        rate = 0.01 if rate is None else rate
        folder = (run if run.is_dir() else run.parent) / "detector"
        detector = _calibrated(run, normal, rate, score or "reconstruction", data_dir)
        detector.save(folder, overwrite=True)
    split = split or evaluation_split(source, data_dir)
    size = image_size(detector.model)
    data, names = with_names(source, split, image_size=size, limit=limit, data_dir=data_dir)
    scores = detector.anomaly_scores(data)
    found = scores > detector.threshold
    make_folder(out.parent)
    with replacing(out) as temporary, temporary.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("sample", "score", "is_anomaly"))
        writer.writerows(zip(names, scores.tolist(), found.astype(int).tolist(), strict=True))
    print(
        f"{found.sum()} of {len(found)} samples are anomalies, with scores above "
        f"{detector.threshold:.4g}; {out} has them all, and the detector is in {folder}"
    )


def _calibrated(run, normal, rate, score, data_dir):
    """A detector whose threshold comes from data that the run was not trained on."""
    from aezoo import load_model
    from aezoo.anomaly import Detector
    from aezoo.data import load
    from aezoo.saving.load import image_size

    model, reference = load_model(run), None
    detector = Detector(model, score)
    options = {"image_size": image_size(model), "data_dir": data_dir, "shuffle": False}
    config = _config(run)
    # The codes are compared with those of the training data, and the held-out part calibrates.
    if config is not None and detector.needs_reference:
        training = {"validation_split": _held_out(config), "limit": config["training"].get("limit")}
        reference = load(config["data"], "train", **training, **options)
    if normal is not None:
        what, calibration = normal, load(normal, **options)
    elif config is None:
        raise ValueError(
            f"`--normal` must be given where no {CONFIG} names the data that the model was trained "
            f"on. Received: {run}"
        )
    else:
        what, calibration = _unseen(run, config, options)
    detector.fit(calibration, rate, reference=reference)
    samples = len(detector.calibration_scores)
    print(f"Calibrated on {samples} samples: {what}", file=sys.stderr)
    return detector


def _config(run) -> dict | None:
    """The configuration of a run on a source; None for a file alone and for data in memory."""
    if not (run / CONFIG).is_file():
        return None
    config = RunFolder(run).read_config()
    return config if names_source(config["data"]) else None


def _held_out(config) -> float | None:
    """The share of the training data that a run held out, by default or as it was told."""
    # Configurations of earlier versions have no `held_out`.
    return config.get("held_out", config["training"].get("validation_split")) or None


def _unseen(run, config, options):
    """(what it is, dataset) of the run's own source: what it held out, or its test split."""
    from aezoo.data import load, splits

    data, share = config["data"], _held_out(config)
    # Early stopping chose the weights by what was held out, which is then not quite unseen. In a
    # run without it the held-out part calibrates, and the test split is left to be scored.
    stopped_early = config["training"].get("early_stopping") is not None
    if "test" in splits(data, options["data_dir"]) and (stopped_early or not share):
        return f"the test split of {data}", load(data, "test", **options)
    if not share:
        raise ValueError(
            "`--normal` must be given, as the run was trained on all of its data; `aezoo train "
            f"... --validation-split 0.2` holds out a fifth. Received: {run}"
        )
    what = f"the {share:.0%} of {data} that the run held out"
    if stopped_early:
        what += "; early stopping used them, so the promised rate is approximate"
    return what, load(data, "validation", validation_split=share, **options)
