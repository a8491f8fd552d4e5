"""`aezoo export`: a run as a file that runs without Keras, tried on the run's own data."""

from __future__ import annotations

from aezoo.saving.files import CONFIG
from aezoo.training.run_folder import RunFolder, names_source


def run_export(run, format, part, quantize, input_dtype, data, out, data_dir, overwrite):
    from aezoo import export, load_model
    from aezoo.data import load
    from aezoo.data._load import evaluation_split
    from aezoo.exporting.tensorflow_formats import SUFFIXES
    from aezoo.saving.load import image_size

    model = load_model(run)
    folder = run if run.is_dir() else run.parent
    # Data that were in memory are known by their kind only, and cannot be loaded again.
    if data is None and (folder / CONFIG).is_file():
        source = RunFolder(folder).data
        data = source if names_source(source) else None
    samples = None
    if data is not None:
        size, split = image_size(model), evaluation_split(data, data_dir)
        options = {"labels": len(model.inputs) > 1, "image_size": size, "data_dir": data_dir}
        samples = load(data, split, shuffle=False, **options)
    path = out or folder / f"{part}{SUFFIXES.get(format, '')}"
    found = export(
        model, path, format, part, quantize,
        input_dtype=input_dtype, data=samples, overwrite=overwrite,
    )  # fmt: skip
    print(f"{found.path}: {found.size:,} bytes", end="")
    print(f", {found.unquantized_size:,} without quantisation" if quantize else "")
    print(f"largest difference from the model's outputs: {found.difference:.2g}")
    print(f"mean squared error: {found.mse:.5f}, that of the model {found.model_mse:.5f}")
    if data is None:
        print("compared on uniform noise, as no --data was given")
