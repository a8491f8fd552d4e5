"""The README's picture: its first command's model on digits that it never saw."""

import pathlib

import matplotlib

import aezoo
from aezoo.training import baselines as _report

OUT = pathlib.Path(__file__).parent / "results" / "denoising-digits.svg"


def main() -> None:
    model = aezoo.denoising_ae((8, 8, 1), latent_dim=16, level=0.3, seed=0)
    aezoo.train(model, "digits", epochs=60, seed=0)
    baselines = _report.Baselines(model, aezoo.data.load("digits"))
    figure = _report.picture(model, aezoo.data.load("digits", "test"), baselines)
    with matplotlib.rc_context({"svg.hashsalt": "aezoo"}):
        figure.savefig(OUT, metadata={"Date": None})
    print(OUT)


if __name__ == "__main__":
    main()
