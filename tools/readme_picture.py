"""The README's picture: the model of its first command on digits that it was not trained on."""

import matplotlib

import aezoo
from aezoo.training.baselines import Baselines, picture
from benchmarks._results import RESULTS

OUT = RESULTS / "denoising-digits.svg"


def main() -> None:
    model = aezoo.denoising_ae((8, 8, 1), latent_dim=16, level=0.3, seed=0)
    aezoo.train(model, "digits", epochs=60, seed=0)
    baselines = Baselines(model, aezoo.data.load("digits"))
    figure = picture(model, aezoo.data.load("digits", "test"), baselines)
    with matplotlib.rc_context({"svg.hashsalt": "aezoo"}):
        figure.savefig(OUT, metadata={"Date": None})
    print(OUT)


if __name__ == "__main__":
    main()
