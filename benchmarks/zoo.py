"""What each family of the zoo promises, measured next to what it has to beat.

    python -m benchmarks.zoo [--task vae|sparse|vq|conditional|contractive|masked|prior] [--quick]

The data are MNIST, and cifar10_jpeg for the masked model. Every row says what was trained, and for
how many epochs and seconds; what it has to beat has a row of its own. Likelihoods are those of
dynamically binarised images, by importance sampling. The pictures are `zoo-generated.svg` and
`zoo-masked.svg`.
"""

from __future__ import annotations

import math
import time

import numpy as np
import typer

from benchmarks._results import save, write


class Data:
    """MNIST and cifar10_jpeg, or the digits for both."""

    def __init__(self, quick: bool):
        import aezoo

        self.quick = quick
        self.mnist, self.cifar = ("digits", "digits") if quick else ("mnist", "cifar10_jpeg")
        self.x, self.labels = aezoo.data.arrays(self.mnist, labels=True)
        self.test, self.test_labels = aezoo.data.arrays(self.mnist, "test", labels=True)
        self.shape = self.x.shape[1:]

    def epochs(self, number: int) -> int:
        return 2 if self.quick else number


def fit(model, data, epochs, rate, warmup=0.0):
    """Trains with a warm-up over a share of the steps, then cosine decay; returns seconds."""
    import keras

    steps = epochs * int(data.cardinality())
    model.optimizer.learning_rate = keras.optimizers.schedules.CosineDecay(
        rate / 20 if warmup else rate,
        steps,
        warmup_target=rate if warmup else None,
        warmup_steps=round(steps * warmup),
    )
    start = time.perf_counter()
    model.fit(data, epochs=epochs, verbose=0)
    return time.perf_counter() - start


def row(task, what, figure, value, epochs=0, seconds=0.0):
    found = {"task": task, "model": what, "figure": figure, "value": f"{value:.5g}"}
    print(found, flush=True)
    return {**found, "epochs": epochs, "seconds": round(seconds)}


def test_mse(model, data):
    return float(model.reconstruction_error(data.test).mean())


def vae(data):
    """Negative log-likelihoods; the importance-weighted bound at the same number of epochs."""
    import tensorflow as tf

    import aezoo

    def binarise(x):
        x = tf.cast(x, "float32") / 255
        return tf.cast(tf.random.uniform(tf.shape(x)) < x, "float32")

    pipeline = aezoo.data.load(data.x, batch_size=100, seed=0).map(binarise)
    test = (np.random.default_rng(0).random(data.test.shape) < data.test / 255).astype("float32")
    rows = []
    samples = 50 if data.quick else 500
    for importance, epochs in ((1, 200), (1, 10), (50, 10)):
        model = aezoo.vae(
            data.shape, 50, hidden_units=(200, 200), importance_samples=importance, seed=0
        )
        epochs = data.epochs(epochs)
        seconds = fit(model, pipeline, epochs, 0.001)
        found = -model.log_likelihood(test, samples=samples).mean()
        name = f"vae importance_samples {importance}"
        figure = f"negative log-likelihood, nats, {samples} samples"
        rows.append(row("vae", name, figure, found, epochs, seconds))
        if len(rows) == 1:
            last = model
    generated_picture(last, data)
    return rows


def generated_picture(model, data) -> None:
    import aezoo

    lines = model.interpolate(data.test[:2], data.test[2:4], 10)
    rows = {"generated": model.generate(10, seed=0), "": model.generate(10, seed=1)}
    rows |= {"interpolated": lines[0], " ": lines[1]}
    save(aezoo.plots.image_rows(rows), "zoo-generated.svg", data.quick)


def sparse(data):
    """A wide code with k active units, next to a dense code of k units."""
    import aezoo

    choices = f"16 numbers and which of 512 they are ({math.log2(math.comb(512, 16)):.0f} bits)"
    pipeline, epochs = aezoo.data.load(data.x, batch_size=128, seed=0), data.epochs(30)
    models = {
        f"sparse_ae top_k, {choices}": aezoo.sparse_ae(
            data.shape, 512, penalty="top_k", rate=16 / 512, seed=0
        ),
        "dense_ae latent_dim 16, as many numbers and no choice": aezoo.dense_ae(
            data.shape, 16, hidden_units=(512,), activation="relu", seed=0
        ),
    }
    rows = []
    for name, model in models.items():
        seconds = fit(model, pipeline, epochs, 0.001)
        rows.append(row("sparse", name, "test MSE", test_mse(model, data), epochs, seconds))
    return rows


def equal_bits(data, bits: int, limit: int) -> np.ndarray:
    """Test images as reconstructed by PCA whose coefficients take `bits` bits per sample.

    Each bit goes to the coefficient whose training error it lowers most. A coefficient of b bits
    has the 2^b levels of Lloyd and Max, which are k-means in one dimension. All levels are fitted
    to training codes.
    """
    from sklearn.cluster import KMeans
    from sklearn.decomposition import PCA

    flat, test = (part.reshape(len(part), -1) / 255.0 for part in (data.x, data.test))
    pca = PCA(min(limit, *flat.shape)).fit(flat)
    known, codes = pca.transform(flat[:: max(1, len(flat) // 5000)]), pca.transform(test)

    def levels(column, count):
        return KMeans(2**count, n_init=1, max_iter=30, random_state=0).fit(column[:, None])

    def error(column, found):
        return -found.score(column[:, None]) / len(column)

    given = [0] * known.shape[1]
    now = known.var(0)
    fitted = [levels(column, 1) for column in known.T]
    falls = np.array([v - error(c, f) for v, c, f in zip(now, known.T, fitted, strict=True)])
    used = [None] * len(given)
    for _ in range(bits):
        best = int(np.argmax(falls))
        used[best], given[best] = fitted[best], given[best] + 1
        now[best] -= falls[best]
        fitted[best] = levels(known[:, best], given[best] + 1)
        falls[best] = now[best] - error(known[:, best], fitted[best])
    kept = np.zeros_like(codes)
    for i, one in enumerate(used):
        column = codes[:, i : i + 1]
        kept[:, i] = (
            known[:, i].mean() if one is None else one.cluster_centers_[one.predict(column), 0]
        )
    return np.clip(pca.inverse_transform(kept), 0, 1)


def vq(data):
    """Reconstruction at equal bits: PCA, with coefficients quantised as well as possible."""
    import aezoo

    model = aezoo.vq_vae(data.shape, seed=0)
    pipeline, epochs = aezoo.data.load(data.x, batch_size=128, seed=0), data.epochs(20)
    seconds = fit(model, pipeline, epochs, 0.002)
    tokens = model.tokens(data.test)
    used = len(np.unique(tokens)) / model.quantizer.codebook_size
    name = f"vq_vae, {model.bits_per_sample} bits a sample"
    bits = 24 if data.quick else model.bits_per_sample
    back = equal_bits(data, bits, 12 if data.quick else 300)
    error = float(np.square(back - data.test.reshape(len(back), -1) / 255.0).mean())
    return [
        row("vq", name, "test MSE", test_mse(model, data), epochs, seconds),
        row("vq", name, "share of the codebook used on the test set", used, epochs, seconds),
        row("vq", f"PCA, {bits} bits a sample, spread as they help most", "test MSE", error),
    ]


def conditional(data):
    """Whether a classifier of real digits recognises the class that was asked for."""
    from sklearn.neural_network import MLPClassifier

    import aezoo

    flat = data.x.reshape(len(data.x), -1) / 255.0
    classifier = MLPClassifier((256,), early_stopping=True, random_state=0).fit(flat, data.labels)
    test = data.test.reshape(len(data.test), -1) / 255.0
    pipeline = aezoo.data.load(data.mnist, labels=True, batch_size=128, seed=0)
    model = aezoo.vae(data.shape, 16, num_classes=10, seed=0)
    epochs = data.epochs(40)
    seconds = fit(model, pipeline, epochs, 0.001)
    labels = np.arange(10_000) % 10
    drawn = model.generate(len(labels), seed=0, labels=labels).reshape(len(labels), -1)
    share = (classifier.predict(drawn) == labels).mean()
    real = classifier.score(test, data.test_labels)
    figure = "accuracy of a classifier of real digits"
    return [
        row("conditional", "vae num_classes 10", figure, share, epochs, seconds),
        row("conditional", "real test digits", figure, real),
    ]


def contractive(data):
    """The encoder's Jacobian at test points, next to the same net without the penalty."""
    import aezoo

    pipeline, epochs = aezoo.data.load(data.x, batch_size=128, seed=0), data.epochs(30)
    models = {
        "contractive_ae penalty_weight 0.003": aezoo.contractive_ae(
            data.shape, 128, penalty_weight=0.003, seed=0
        ),
        "dense_ae, the same net": aezoo.dense_ae(
            data.shape, 128, hidden_units=(), latent_activation="sigmoid", seed=0
        ),
    }
    rows = []
    for name, model in models.items():
        seconds = fit(model, pipeline, epochs, 0.005)
        codes = model.encode(data.test)
        kernel = next(w for w in model.encoder.get_weights() if w.ndim == 2)
        norms = (np.square(codes * (1 - codes)) * np.square(kernel).sum(0)).sum(1)
        rows.append(row("contractive", name, "test MSE", test_mse(model, data), epochs, seconds))
        figure = "norm of the encoder's Jacobian, mean over test points"
        rows.append(row("contractive", name, figure, np.sqrt(norms).mean(), epochs, seconds))
        relative = np.sqrt(norms.mean() / codes.var(0).sum())
        figure = "the same relative to the spread of the code, which no scale of it changes"
        rows.append(row("contractive", name, figure, relative, epochs, seconds))
    return rows


def prior(data):
    """How well a classifier tells codes from draws of the prior that they should follow.

    It learns from half of the codes of the test images and of the same number of draws, and is
    tested on the other half; 0.5 is a guess.
    """
    from sklearn.neural_network import MLPClassifier

    import aezoo

    pipeline, epochs = aezoo.data.load(data.x, batch_size=128, seed=0), data.epochs(30)
    rows, generator = [], np.random.default_rng(0)
    for name in ("adversarial_ae", "wae", "vae"):
        for size in (2,) if data.quick else (8, 32):
            model = aezoo.create(name, data.shape, size, seed=0)
            seconds = fit(model, pipeline, epochs, 0.001)
            if name == "vae":
                mean, log_variance = model.encode(data.test, return_distribution=True)
                codes = mean + np.exp(log_variance / 2) * generator.standard_normal(mean.shape)
            else:
                codes = model.encode(data.test)
            x = np.concatenate([codes, generator.standard_normal(codes.shape)])
            y = np.repeat([0, 1], len(codes))
            learnt = generator.permutation(len(x)) < len(x) // 2
            classifier = MLPClassifier((256, 256), early_stopping=True, random_state=0)
            share = classifier.fit(x[learnt], y[learnt]).score(x[~learnt], y[~learnt])
            figure = "accuracy of a classifier of codes and draws of the prior"
            rows.append(row("prior", f"{name} latent_dim {size}", figure, share, epochs, seconds))
    return rows


def masked(data):
    """Accuracy of a linear probe on the pooled code, next to PCA of the same size."""
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    import aezoo

    x, y = aezoo.data.arrays(data.cifar, labels=True)
    test, test_y = aezoo.data.arrays(data.cifar, "test", labels=True)
    model = aezoo.masked_ae(x.shape[1:], decoder_depth=1, normalize_patches=True, seed=0)
    untrained = [model.features(part) for part in (x, test)]
    epochs = data.epochs(12)
    pipeline = aezoo.data.load(x, batch_size=128, seed=0)
    seconds = fit(model, pipeline, epochs, 0.003, warmup=0.05)
    rows = []
    for name, parts, cost in (
        (
            "masked_ae, pooled tokens",
            [model.features(part) for part in (x, test)],
            (epochs, seconds),
        ),
        ("the same net, not trained", untrained, ()),
        ("PCA of the same size", None, ()),
    ):
        if parts is None:
            flat = [part.reshape(len(part), -1) / np.float32(255) for part in (x, test)]
            size = min(128, flat[0].shape[1])
            pca = PCA(size, svd_solver="covariance_eigh").fit(flat[0])
            parts = [pca.transform(part) for part in flat]
        probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        score = probe.fit(parts[0], y).score(parts[1], test_y)
        rows.append(row("masked", name, "accuracy of a linear probe", score, *cost))
    seen, filled = model.fill_in(test[:10], seed=0)
    pictures = {"input": test[:10] / 255.0, "seen": seen, "filled in": filled}
    save(aezoo.plots.image_rows(pictures), "zoo-masked.svg", data.quick)
    return rows


TASKS = {
    "sparse": sparse,
    "vq": vq,
    "contractive": contractive,
    "conditional": conditional,
    "vae": vae,
    "masked": masked,
    "prior": prior,
}


def main(
    task: str = typer.Option(None, help="One task alone; the others' rows are kept."),
    quick: bool = typer.Option(False, help="Digits and two epochs, to see that it runs."),
) -> None:
    data = Data(quick)
    for name in [task] if task else TASKS:
        write(TASKS[name](data), "zoo-quick" if quick else "zoo", key="task")


if __name__ == "__main__":
    typer.run(main)
