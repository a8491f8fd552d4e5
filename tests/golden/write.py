"""Writes what `tests/test_golden.py` reads: files as this version of the package makes them.

    python -m tests.golden.write

They go to `tests/golden/VERSION`, once for each release; what is there is never written again, as
each later version must still load it.
"""

from __future__ import annotations

import pathlib
import sys
import zipfile

import numpy as np

import aezoo
from tests.conftest import small, train

HERE = pathlib.Path(__file__).parent
VARIANTS = {
    "vae_labels": ("vae", {"num_classes": 10}),
    "vae_learnt_variance": ("vae", {"likelihood": "gaussian", "variance": "learnt"}),
    "denoising_ae_affine": ("denoising_ae", {"corruption": "affine", "level": 0.2}),
}
DENSE = ("contractive_ae", "dense_ae", "sparse_ae", "vae", "wae")
FEW_WEIGHTS = {  # as the files lie in the repository
    **{name: {"hidden_units": (8,)} for name in DENSE},
    "adversarial_ae": {"hidden_units": (8,), "discriminator_units": (8,)},
    "conv_ae": {"filters": (2, 4)},
    "denoising_ae": {"filters": (2, 4)},
    "masked_ae": {"embedding_dim": 8, "decoder_dim": 8},
    "patch_ae": {"filters": 8},
    "random_feature_ae": {"features": 20},
    "sequence_ae": {"units": 4},
    "unet_ae": {"filters": (2, 4)},
    "vq_vae": {"filters": (2, 4), "codebook_size": 16},
}


def write(folder: pathlib.Path) -> None:
    training, classes = aezoo.data.arrays("digits", limit=64, labels=True)
    x, labels = training[:16], classes[:16]
    names = {name: (name, {}) for name in aezoo.list_models()} | VARIANTS
    for case, (name, arguments) in names.items():
        conditional = {"y": classes} if "num_classes" in arguments else {}
        told = {"labels": labels} if conditional else {}
        model = small(name, **FEW_WEIGHTS.get(name, {}), **arguments)
        train(model, training, **conditional)
        model.run_eagerly = False
        model.save(folder / f"{case}.keras")
        outputs = {"outputs": model.reconstruct(x, **told)}
        if model.code_size is not None:
            outputs["codes"] = model.encode(x, **told)
        np.savez_compressed(folder / f"{case}.npz", **outputs)
    model = small("dense_ae", **FEW_WEIGHTS["dense_ae"])
    aezoo.train(model, "digits", epochs=2, out=folder / "run", limit=64, seed=0, verbose=False)
    model = small("pca_ae")
    model.fit(training, verbose=0)
    detector = aezoo.anomaly.Detector(model, "nearest").fit(training[16:], 0.2)
    detector.save(folder / "detector")
    aezoo.save_pretrained(small("conv_ae", **FEW_WEIGHTS["conv_ae"]), folder / "pretrained")
    expected = aezoo.conv_ae(weights=folder / "pretrained")
    np.savez_compressed(
        folder / "folders.npz",
        x=x,
        labels=labels,
        run=aezoo.load_model(folder / "run").reconstruct(x),
        scores=detector.score(x),
        flagged=detector.predict(x),
        pretrained=expected.reconstruct(x),
    )
    for path in (*folder.glob("*.keras"), folder / "run" / "model.keras"):
        deflate(path)


def deflate(path: pathlib.Path) -> None:
    """The same archive with the same members, in a third of the space."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


if __name__ == "__main__":
    out = HERE / ".".join(aezoo.__version__.split(".")[:2])
    if out.exists():
        sys.exit(f"{out} is there already, and stays as it is.")
    out.mkdir()
    write(out)
