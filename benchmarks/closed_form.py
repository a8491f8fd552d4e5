"""The closed forms on MNIST: time, test error, numbers of features, and fine-tuning.

    python -m benchmarks.closed_form [--task solve|features|fine-tune|patches] [--quick]

solve: each model and scikit-learn's PCA in float64 take turns; medians. features: the error against
the number and the kind of features of the decoder. fine-tune: gradient epochs that start from the
closed form, and from random weights. patches: a linear classifier on the frozen code of patch_ae,
on cifar10_jpeg.
"""

from __future__ import annotations

import math
import statistics
import time

import numpy as np
import typer

from benchmarks._results import save, write


def load(quick):
    import aezoo

    parts = [aezoo.data.arrays("digits" if quick else "mnist", part) for part in ("train", "test")]
    return tuple(part.reshape(len(part), -1) for part in parts)


def error(model, test) -> float:
    """Test error; inputs are corrupted with a fixed seed if the model corrupts them."""

    seen = test if model.corruption is None else model.corrupt(test, seed=0)
    return float(np.square(model.reconstruct(seen) - test / np.float32(255)).mean())


def solve(quick, rounds) -> None:
    from sklearn.decomposition import PCA

    import aezoo

    x, test = load(quick)
    size, features = (16, 200) if quick else (32, 2000)
    code = {"latent_dim": size}
    masked = {"corruption": "masking"}
    models = [
        ("pca_ae", code),
        ("pca_ae", {**code, "output_activation": "clip"}),
        ("random_feature_ae", {**code, "features": features, "seed": 0}),
        ("marginalized_ae", {**masked, "level": 0.25}),
        ("marginalized_ae", {**masked, "level": 0.5}),
        ("marginalized_ae", {**masked, "level": 0.25, "layers": 2}),
        ("marginalized_ae", {**masked, "level": 0.5, "layers": 2}),
        ("marginalized_ae", {"corruption": "gaussian", "level": 0.5, "clip": True}),
        ("elm_ae", {"latent_dim": 2 * size, "seed": 0}),
    ]
    names = [f"{name} {', '.join(f'{k} {v}' for k, v in given.items())}" for name, given in models]
    seconds = {name: [] for name in ["scikit-learn PCA covariance_eigh float64", *names]}
    rows, errors = [], {}
    scaled = x / 255.0
    for turn in range(rounds + 1):  # the first one warms up and is not counted
        start = time.perf_counter()
        pca = PCA(size, svd_solver="covariance_eigh").fit(scaled)
        seconds[next(iter(seconds))].append(time.perf_counter() - start)
        for name, (factory, given) in zip(names, models, strict=True):
            model = aezoo.create(factory, x.shape[1:], **given)
            start = time.perf_counter()
            model.fit(x, verbose=0)
            seconds[name].append(time.perf_counter() - start)
            errors[name] = error(model, test)
            print(turn, name, round(seconds[name][-1], 2), round(errors[name], 5), flush=True)
    target = test / 255.0
    errors[next(iter(seconds))] = np.square(
        pca.inverse_transform(pca.transform(target)) - target
    ).mean()
    for name, found in seconds.items():
        mse = errors[name]
        row = {"model": name, "seconds": round(statistics.median(found[1:]), 3)}
        row |= {"fastest": round(min(found[1:]), 3), "slowest": round(max(found[1:]), 3)}
        rows.append({**row, "test_mse": round(mse, 5), "psnr": round(-10 * math.log10(mse), 2)})
    write(rows, "closed_form-quick" if quick else "closed_form")


def features(quick, rounds) -> None:
    import aezoo
    from aezoo.closed_form._linear_algebra import ridge
    from aezoo.closed_form._moments import Moments

    x, test = load(quick)
    size = 16 if quick else 32
    model = aezoo.random_feature_ae(x.shape[1:], size, features=100 if quick else 2000, seed=0)
    model.fit(x, verbose=0)
    codes, test_codes = model.encode(x), model.encode(test)
    spread = math.sqrt(codes.var(0).sum())
    clean, target = x / np.float32(255), test / np.float32(255)
    generator = np.random.default_rng(0)

    def weights(kind, count):
        normal = generator.normal(size=(size, count)).astype("float32")
        where = codes[generator.integers(len(codes), size=count)].T
        if kind == "gaussian":
            return normal / spread, generator.normal(0, 0.5, count)
        if kind == "gaussian, bends at data":
            return normal / spread, -(normal * where).sum(0) / spread
        if kind == "orthogonal":
            blocks = [np.linalg.qr(normal[:, i : i + size])[0] for i in range(0, count, size)]
            kernel = np.concatenate(blocks, 1) * math.sqrt(size) / spread
            return kernel, generator.normal(0, 0.5, kernel.shape[1])
        if kind == "differences of data, bends midway":
            other = codes[generator.integers(len(codes), size=count)].T
            kernel = where - other
            kernel /= np.linalg.norm(kernel, axis=0) + 1e-6
            return kernel, -((where + other) / 2 * kernel).sum(0)
        model.fine_tune(x, epochs=1 if quick else 5, batch_size=128, verbose=0)
        return model.decoder.get_layer("features").get_weights()

    kinds = {"gaussian": (100, 200) if quick else (250, 500, 1000, 2000, 4000, 6000)}
    for kind in ("gaussian, bends at data", "orthogonal", "differences of data, bends midway"):
        kinds[kind] = (100,) if quick else (2000, 4000)
    kinds["first layer of five gradient epochs"] = (100,) if quick else (2000,)
    rows = []
    for kind, counts in kinds.items():
        for count in counts:
            kernel, bias = (part.astype("float32") for part in weights(kind, count))
            if kind.startswith("first"):
                codes, test_codes = model.encode(x), model.encode(test)

            def inner(codes, kernel=kernel, bias=bias):
                return np.concatenate([codes, np.maximum(codes @ kernel + bias, 0)], 1)

            start = time.perf_counter()
            moments = Moments(size + kernel.shape[1], x.shape[1])
            for i in range(0, len(x), 4096):
                moments.add_rows(inner(codes[i : i + 4096]), clean[i : i + 4096])
            solution, offset = ridge(moments)
            seconds = time.perf_counter() - start
            outputs = inner(test_codes) @ solution.astype("float32") + offset.astype("float32")
            row = {"features": kind, "number": count, "seconds": round(seconds, 2)}
            row["test_mse"] = round(float(np.square(outputs - target).mean()), 5)
            row["test_mse_clipped"] = round(float(np.square(outputs.clip(0, 1) - target).mean()), 5)
            rows.append(row)
            print(row, flush=True)
    write(rows, "closed_form_features-quick" if quick else "closed_form_features")


def fine_tune(quick, rounds) -> None:
    import aezoo

    x, test = load(quick)
    size, count = (16, 100) if quick else (32, 2000)
    seen = [0, 1, 2] if quick else [0, 1, 2, 5, 10]
    kinds = {
        "random_feature_ae": {"latent_dim": size, "features": count},
        "marginalized_ae, two layers, masking .25": {"layers": 2, "level": 0.25},
    }
    rows = []
    for kind in kinds:
        for start in ("closed form", "random weights"):
            for rate in (0.001, 0.0001):
                factory = kind.split(",")[0]
                given = {**kinds[kind], "output_activation": None, "learning_rate": rate}
                model = aezoo.create(factory, x.shape[1:], **given, seed=0)
                if start == "closed form":
                    model.fit(x, verbose=0)
                else:
                    begin_as_usual(model)
                for done in range(max(seen) + 1):
                    if done:
                        model.fine_tune(x, batch_size=128, epochs=1, verbose=0)
                    if done in seen:
                        row = {"model": kind, "start": start, "learning_rate": rate}
                        rows.append(
                            {**row, "epochs": done, "test_mse": round(error(model, test), 5)}
                        )
                        print(rows[-1], flush=True)
    write(rows, "closed_form_fine_tune-quick" if quick else "closed_form_fine_tune")
    if not quick:
        fine_tune_picture(rows)


def begin_as_usual(model) -> None:
    """Sets Glorot kernels and biases of 0, the usual start of training with gradients."""
    import keras

    for seed, layer in enumerate([*model.encoder.layers, *model.decoder.layers]):
        if hasattr(layer, "kernel"):
            kernel = keras.initializers.GlorotUniform(seed)(layer.kernel.shape)
            biases = [np.zeros(weight.shape) for weight in layer.get_weights()[1:]]
            layer.set_weights([np.asarray(kernel), *biases])


def fine_tune_picture(rows) -> None:
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    kinds = list(dict.fromkeys(row["model"] for row in rows))
    figure, axes = plt.subplots(1, len(kinds), figsize=(9, 3.4), constrained_layout=True)
    for axis, kind in zip(axes, kinds, strict=True):
        for start, color in (("closed form", "tab:blue"), ("random weights", "tab:orange")):
            for rate, style in ((0.001, "-"), (0.0001, "--")):
                curve = [
                    (row["epochs"], row["test_mse"])
                    for row in rows
                    if (row["model"], row["start"], row["learning_rate"]) == (kind, start, rate)
                ]
                axis.plot(*zip(*curve, strict=True), style, color=color, marker="o", markersize=3,
                          label=f"{start}, learning rate {rate}")  # fmt: skip
        axis.set(title=kind, xlabel="gradient epochs", ylabel="test MSE", yscale="log")
    axes[0].legend(fontsize="small")
    save(figure, "closed_form_fine_tune.svg")


def patches(quick, rounds) -> None:
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegression

    import aezoo

    source = "digits" if quick else "cifar10_jpeg"
    (x, y), (test, test_y) = (
        aezoo.data.arrays(source, part, labels=True) for part in ("train", "test")
    )
    rows = []

    def probe(name, codes, test_codes, fit_seconds, encode_seconds, mse):
        """Accuracy of a logistic regression; a tenth of the training data chooses its strength."""
        mean, scale = codes.mean(0), codes.std(0) + 1e-3
        codes, test_codes = (codes - mean) / scale, (test_codes - mean) / scale
        cut = len(codes) * 9 // 10
        scores = {}
        for strength in (0.001, 0.003, 0.01):
            fitted = LogisticRegression(C=strength, max_iter=150).fit(codes[:cut], y[:cut])
            scores[strength] = fitted.score(codes[cut:], y[cut:])
            print(name, strength, scores[strength], flush=True)
        best = max(scores, key=scores.get)
        fitted = LogisticRegression(C=best, max_iter=150).fit(codes, y)
        row = {"code": name, "size": codes.shape[1], "fit_seconds": round(fit_seconds, 1)}
        row |= {"encode_seconds": round(encode_seconds, 1), "test_mse": round(mse, 5)}
        row |= {"C": best, "test_accuracy": round(fitted.score(test_codes, test_y), 4)}
        rows.append(row)
        print(row, flush=True)

    given = {"filters": 30, "kernel_size": 3} if quick else {}
    model = aezoo.patch_ae(x.shape[1:], **given, seed=0)
    start = time.perf_counter()
    model.fit(x, verbose=0)
    fitted = time.perf_counter()
    codes, test_codes = model.encode(x), model.encode(test)
    encoded = time.perf_counter() - fitted
    mse = float(model.reconstruction_error(test).mean())
    probe("patch_ae", codes, test_codes, fitted - start, encoded, mse)
    flat, test_flat = (part.reshape(len(part), -1) / np.float32(255) for part in (x, test))
    size = min(codes.shape[1], flat.shape[1])
    start = time.perf_counter()
    pca = PCA(size, svd_solver="covariance_eigh").fit(flat)
    seconds = time.perf_counter() - start
    back = pca.inverse_transform(pca.transform(test_flat))
    mse = float(np.square(back - test_flat).mean())
    probe(f"PCA {size}", pca.transform(flat), pca.transform(test_flat), seconds, 0.0, mse)
    write(rows, "closed_form_patches-quick" if quick else "closed_form_patches")


TASKS = {"solve": solve, "features": features, "fine-tune": fine_tune, "patches": patches}


def main(
    task: str = typer.Option("all", help="solve, features, fine-tune, patches or all."),
    quick: bool = typer.Option(False, help="Digits and small nets, to see that it runs."),
    rounds: int = typer.Option(3, help="How often each model is solved."),
) -> None:
    for name in TASKS if task == "all" else [task]:
        TASKS[name](quick, 1 if quick else rounds)


if __name__ == "__main__":
    typer.run(main)
