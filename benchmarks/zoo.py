"""What each family of the zoo promises, measured beside what it has to beat.

    python -m benchmarks.zoo [--task vae|sparse|vq|conditional|contractive|masked] [--quick]

MNIST, and CIFAR-10 for the masked model; every row says what was trained, for how many epochs
and seconds, and stands beside its `reference`. Likelihoods are of dynamically binarised
images, by importance sampling. Pictures go to `zoo-generated.svg` and `zoo-masked.svg`.
"""

from __future__ import annotations

import time

import numpy as np
import typer

from benchmarks._results import save, write


class Data:
    """MNIST and CIFAR-10, or the digits for both."""

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
    """Trains with cosine decay to 0, behind a warm-up of a share; returns the seconds."""
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
    """Negative log-likelihood; the importance-weighted bound at equal epochs."""
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
    """A wide code of which k are active, beside a dense code of k."""
    import aezoo

    pipeline, epochs = aezoo.data.load(data.x, batch_size=128, seed=0), data.epochs(30)
    models = {
        "sparse_ae top_k, 16 of 512 units": aezoo.sparse_ae(
            data.shape, 512, "top_k", rate=16 / 512, seed=0
        ),
        "dense_ae latent_dim 16": aezoo.dense_ae(data.shape, 16, (512,), activation="relu", seed=0),
    }
    rows = []
    for name, model in models.items():
        seconds = fit(model, pipeline, epochs, 0.001)
        rows.append(row("sparse", name, "test MSE", test_mse(model, data), epochs, seconds))
    return rows


def vq(data):
    """Reconstruction at equal bits: PCA whose coefficients have 8 bits each."""
    from sklearn.decomposition import PCA

    import aezoo

    model = aezoo.vq_vae(data.shape, seed=0)
    pipeline, epochs = aezoo.data.load(data.x, batch_size=128, seed=0), data.epochs(20)
    seconds = fit(model, pipeline, epochs, 0.002)
    tokens = model.tokens(data.test)
    used = len(np.unique(tokens)) / model.quantizer.codebook_size
    name = f"vq_vae, {model.bits_per_sample} bits a sample"
    flat, test = (part.reshape(len(part), -1) / 255.0 for part in (data.x, data.test))
    components = min(model.bits_per_sample // 8, flat.shape[1])
    pca = PCA(components).fit(flat)
    codes, known = pca.transform(test), pca.transform(flat)
    low, high = known.min(0), known.max(0)
    steps = np.round(np.clip((codes - low) / (high - low), 0, 1) * 255)
    back = np.clip(pca.inverse_transform(low + steps / 255 * (high - low)), 0, 1)
    error = float(np.square(back - test).mean())
    return [
        row("vq", name, "test MSE", test_mse(model, data), epochs, seconds),
        row("vq", name, "share of the codebook used on the test set", used, epochs, seconds),
        row("vq", f"PCA of {components} components, 8 bits each", "test MSE", error),
    ]


def conditional(data):
    """Whether a classifier of real digits knows the class that was asked for."""
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
    """The encoder's Jacobian at test points, beside the same net without the penalty."""
    import aezoo

    pipeline, epochs = aezoo.data.load(data.x, batch_size=128, seed=0), data.epochs(30)
    models = {
        "contractive_ae penalty_weight 0.003": aezoo.contractive_ae(
            data.shape, 128, penalty_weight=0.003, seed=0
        ),
        "dense_ae, the same net": aezoo.dense_ae(
            data.shape, 128, (), latent_activation="sigmoid", seed=0
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
    return rows


def masked(data):
    """Accuracy of a linear probe on the pooled code, beside PCA of the same size."""
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    import aezoo

    x, y = aezoo.data.arrays(data.cifar, labels=True)
    test, test_y = aezoo.data.arrays(data.cifar, "test", labels=True)
    model = aezoo.masked_ae(x.shape[1:], decoder_depth=1, normalize_patches=True, seed=0)
    epochs = data.epochs(12)
    pipeline = aezoo.data.load(x, batch_size=128, seed=0)
    seconds = fit(model, pipeline, epochs, 0.003, warmup=0.05)
    rows = []
    for name, parts in (
        ("masked_ae, pooled tokens", [model.features(part) for part in (x, test)]),
        ("PCA of the same size", None),
    ):
        if parts is None:
            flat = [part.reshape(len(part), -1) / np.float32(255) for part in (x, test)]
            size = min(128, flat[0].shape[1])
            pca = PCA(size, svd_solver="covariance_eigh").fit(flat[0])
            parts = [pca.transform(part) for part in flat]
        probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        score = probe.fit(parts[0], y).score(parts[1], test_y)
        rows.append(row("masked", name, "accuracy of a linear probe", score, epochs, seconds))
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
