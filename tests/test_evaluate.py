"""The report card: its figures against their own definitions, its page, its command."""

import base64
import html.parser
import io
import json
import os
import shutil
import sys

import numpy as np
import pytest
from PIL import Image

import aezoo
from aezoo import metrics, transfer
from aezoo.cli.app import main
from aezoo.evaluation.measurements import one_class_scores
from aezoo.evaluation.report_pictures import _errors
from aezoo.evaluation.samples import Thinned
from aezoo.metrics import score
from tests.conftest import small

# what skimage.metrics.structural_similarity 0.26 gives for `pair` of these shapes, data_range=1
SSIM_OF_PAIRS = {(28, 28, 1): 0.826271, (9, 13, 3): 0.815457, (5, 6, 1): 0.837330}


# codes of other batches differ in their last digits, which may decide a class on the edge
ONE_OF_360 = 1.01 / 360


def pair(shape):
    generator = np.random.default_rng(0)
    x = generator.random((4, *shape))
    return x, np.clip(x + 0.2 * generator.standard_normal(x.shape), 0, 1)


@pytest.fixture(scope="module")
def model(labelled):
    model = aezoo.dense_ae((8, 8, 1), 8, hidden_units=(64,), seed=0)
    model.fit(labelled[0], epochs=5, batch_size=128, verbose=0)
    return model


@pytest.fixture(scope="module")
def card(model):
    return aezoo.evaluate(model, "digits", verbose=False)


@pytest.mark.parametrize("shape", SSIM_OF_PAIRS)
def test_ssim_is_that_of_scikit_image(shape):
    x, y = pair(shape)
    found = metrics.ssim(x, y)
    assert found.mean() == pytest.approx(SSIM_OF_PAIRS[shape], abs=1e-4)
    np.testing.assert_allclose(metrics.ssim(x, x), 1)
    skimage = pytest.importorskip("skimage.metrics")
    window = min(7, *shape[:2]) - 1 + min(7, *shape[:2]) % 2
    expected = [
        skimage.structural_similarity(*one, data_range=1, channel_axis=-1, win_size=window)
        for one in zip(x, y, strict=True)
    ]
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_psnr_is_that_of_scikit_image():
    x, y = pair((28, 28, 1))
    np.testing.assert_allclose(metrics.psnr(x, x), np.inf)
    pixels = (np.stack([x, y]) * 255).round().astype("uint8")
    errors = np.square(pixels[0] / 255 - pixels[1] / 255).mean((1, 2, 3))
    np.testing.assert_allclose(metrics.psnr(*pixels), 10 * np.log10(1 / errors), atol=1e-4)
    skimage = pytest.importorskip("skimage.metrics")
    expected = [
        skimage.peak_signal_noise_ratio(*one, data_range=1) for one in zip(x, y, strict=True)
    ]
    np.testing.assert_allclose(metrics.psnr(x, y), expected, atol=1e-4)
    whole = score(float(np.square(x - y).mean()))["psnr"]
    assert whole == pytest.approx(skimage.peak_signal_noise_ratio(x, y, data_range=1), abs=1e-4)


def test_ssim_refuses_what_no_window_fits():
    with pytest.raises(ValueError, match=r"at least 3x3 pixels. Received: shape \(2, 2, 9, 1\)"):
        metrics.ssim(np.zeros((2, 2, 9, 1)), np.zeros((2, 2, 9, 1)))
    with pytest.raises(ValueError, match="must have the same shape"):
        metrics.psnr(np.zeros((2, 4)), np.zeros((2, 5)))


def test_figures_are_what_they_say(card, model, labelled, tested):
    from sklearn.decomposition import PCA

    assert list(card.columns) == ["dense_ae", "PCA 8"]
    figures, x = card["dense_ae"], tested[0]
    assert figures["mse"] == pytest.approx(model.reconstruction_error(x).mean(), rel=1e-5)
    assert figures["psnr"] == pytest.approx(10 * np.log10(1 / figures["mse"]))
    assert figures["ssim"] == pytest.approx(metrics.ssim(x, model.reconstruct(x)).mean(), rel=1e-5)
    probe = transfer.linear_probe(model, labelled, tested)
    assert figures["linear_probe"] == pytest.approx(probe.accuracy, abs=ONE_OF_360)
    neighbours = transfer.knn(model, labelled, tested)
    assert figures["knn"] == pytest.approx(neighbours.accuracy, abs=ONE_OF_360)
    assert figures["parameters"] == model.count_params()
    assert 0.3 < figures["kmeans_nmi"] < 1
    assert figures["encode_per_second"] > 0
    flat, test_flat = (part.reshape(len(part), -1) / 255 for part in (labelled[0], x))
    pca = PCA(8, svd_solver="full").fit(flat)
    output = np.clip(pca.inverse_transform(pca.transform(test_flat)), 0, 1)
    assert card["PCA 8"]["mse"] == pytest.approx(np.square(output - test_flat).mean(), rel=1e-4)
    assert card["PCA 8"]["code_size"] == figures["code_size"] == 8
    assert card.about["samples"] == 360
    assert card.about["fitted_samples"] == 1437


def test_noise_is_measured_against_the_clean_sample(model, tested):
    card = aezoo.evaluate(model, tested[0], train=tested[0], noise_levels=(0.0, 0.3), verbose=False)
    for figures in card.columns.values():
        assert figures["noise"]["0.0"] == pytest.approx(figures["mse"], rel=1e-6)
        assert figures["noise"]["0.3"] > figures["mse"]


def test_one_class_scores_tell_classes_that_lie_apart():
    generator = np.random.default_rng(0)
    y = generator.integers(0, 3, 600)
    near = generator.standard_normal((600, 4))
    apart = one_class_scores(near + 6 * y[:, None], y, near + 6 * y[:, None], y)
    assert set(apart) == {"0", "1", "2"}
    assert min(apart.values()) > 0.99
    mixed = one_class_scores(near[:300], y[:300], near[300:], y[300:])
    assert all(0.4 < value < 0.6 for value in mixed.values())


def test_arrays_datasets_and_sources_give_the_same_card(card, model, labelled, tested):
    import tensorflow as tf

    train, test = (tf.data.Dataset.from_tensor_slices(p).batch(100) for p in (labelled, tested))
    for given in (
        {"data": test, "train": train},
        {"data": tested[0] / np.float32(255), "labels": tested[1], "train": "digits"},
    ):
        found = aezoo.evaluate(model, **given, noise_levels=(), verbose=False)
        for name, figures in found.columns.items():
            for key in ("mse", "ssim", "knn", "linear_probe", "kmeans_nmi"):
                near = 1e-5 if key in ("mse", "ssim") else ONE_OF_360
                assert figures[key] == pytest.approx(card[name][key], abs=near), (name, key)


def test_without_training_data_a_fifth_is_measured(model, labelled):
    import tensorflow as tf

    x, y = labelled
    found = aezoo.evaluate(model, x, y, noise_levels=(), verbose=False)
    assert (found.about["samples"], found.about["fitted_samples"]) == (287, 1150)
    assert found["PCA 8"]["linear_probe"] > 0.8
    dataset = tf.data.Dataset.from_tensor_slices((x, y)).batch(20)
    found = aezoo.evaluate(model, dataset, noise_levels=(), limit=200, verbose=False)
    assert (found.about["samples"], found.about["fitted_samples"]) == (40, 160)
    with pytest.raises(ValueError, match=r"at least 5 batches.*Received: 3"):
        aezoo.evaluate(model, dataset.take(3), verbose=False)


def test_figures_that_the_data_do_not_allow_are_left_out():
    x = np.random.default_rng(0).normal(3, 5, (200, 12)).astype("float32")
    model = aezoo.dense_ae((12,), 2, hidden_units=(8,), output_activation=None, seed=0)
    card = aezoo.evaluate(model, x, verbose=False)
    keys = {"mse", "noise", "parameters", "code_size", "encode_per_second"}
    assert set(card["dense_ae"]) == keys | {"reconstruct_per_second"}
    assert card.about["noise_unit"] == pytest.approx(5, rel=0.2)
    assert "noise 0.1 standard deviations" in str(card)
    assert set(card.pictures()) >= {"Reconstructions", "Errors", "Codes in two dimensions"}


def test_several_models_share_the_pca_of_their_code_size(tested):
    x = tested[0][:60]
    models = {
        "a": small("dense_ae", latent_dim=4),
        "b": small("vq_vae"),
        "c": small("denoising_ae", latent_dim=4),
    }
    card = aezoo.evaluate(models, x, train="digits", noise_levels=(), verbose=False)
    assert list(card.columns) == ["a", "c", "PCA 4", "b", "PCA 64"]
    assert card["b"]["bits_per_sample"] == models["b"].bits_per_sample
    assert "bits_per_sample" not in card["a"]
    assert card["c"]["corrupted_mse"] > 0
    assert card["PCA 4"]["corrupted_mse"] > card["PCA 4"]["mse"]
    assert "corrupted_mse" not in card["a"]
    assert card["PCA 64"]["mse"] < 1e-9
    histogram = next(_errors(card))
    assert "PCA 64 loses nothing" in histogram.caption
    assert len(histogram.figure.axes[0].get_legend().get_texts()) == 4
    lines = {row.label: row for rows in card.rows().values() for row in rows}
    assert lines["bits per sample"].cells.count("-") == 4
    assert lines["MSE"].best == (4,)


def test_what_cannot_be_measured_is_refused(model, tested):
    cases = {
        "takes labels too": (small("vae", num_classes=10), "digits", {}),
        "must be an Autoencoder": (model.encoder, "digits", {}),
        "not have the name of its PCA": ({"PCA 8": model}, "digits", {}),
        "one input shape": ({"a": model, "b": small("dense_ae", (64,))}, "digits", {}),
        "`labels` must be None": (model, "digits", {"labels": tested[1]}),
        "must have the shape": (model, tested[0][:, :7], {}),
        "must be finite": (model, np.full((10, 8, 8, 1), np.nan, "float32"), {}),
        "at least 5 samples": (model, tested[0][:3], {}),
        "`noise_levels` must be": (model, "digits", {"noise_levels": (-1,)}),
        "`data` must be a source": (model, object(), {}),
    }
    for sentence, (one, data, options) in cases.items():
        with pytest.raises(ValueError, match=f"{sentence}.*Received: "):
            aezoo.evaluate(one, data, **options, verbose=False)


def test_the_card_prints_and_is_json(card):
    from rich.console import Console

    text = str(card)
    assert "linear probe, accuracy" in text
    assert "PCA 8" in text
    console = Console(file=io.StringIO(), width=120)
    console.print(card)
    assert "dense_ae on digits" in console.file.getvalue()
    content = json.loads(card.to_json())
    assert content["columns"]["PCA 8"]["mse"] == card["PCA 8"]["mse"]
    assert set(content["columns"]["dense_ae"]["one_class_auroc"]["by_class"]) == set("0123456789")


class Page(html.parser.HTMLParser):
    """Tags and attributes of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.open = [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in ("meta", "link", "img", "source"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_holds_everything_itself(card):
    text = card.to_html()
    page = Page(text)
    assert not page.open
    names = [tag for tag, _ in page.tags]
    assert "script" not in names
    assert ("meta", "width=device-width, initial-scale=1") in [
        (tag, attributes.get("content")) for tag, attributes in page.tags
    ]
    for _, attributes in page.tags:
        assert not attributes.keys() & {"onload", "onclick", "action"}
        for key in ("src", "href", "srcset"):
            assert attributes.get(key, "data:").startswith("data:")
    assert "url(" not in text
    assert "@import" not in text
    pictures = [attributes for tag, attributes in page.tags if tag == "img"]
    assert len(pictures) == 9  # two of samples, three of errors, two of codes, and two more
    for attributes in pictures:
        kind, encoded = attributes["src"].split(",")
        assert kind == "data:image/png;base64"
        image = Image.open(io.BytesIO(base64.b64decode(encoded, validate=True)))
        assert min(image.size) > 100
        assert attributes["alt"]
    assert text.count("<!doctype html>") == 1
    inside = card._repr_html_()
    assert "<html" not in inside
    assert inside.count("<img") == 9


def test_thinned_rows_are_spread_evenly():
    thinned = Thinned(10)
    for start in range(0, 1000, 7):
        thinned.add(np.arange(start, min(start + 7, 1000)))
    (kept,) = thinned.columns
    assert 5 <= len(kept) <= 10
    assert len(set(np.diff(kept))) == 1
    assert kept[0] == 0
    few = Thinned(10)
    few.add(np.arange(4), np.arange(4) * 2)
    np.testing.assert_array_equal(few.columns, [[0, 1, 2, 3], [0, 2, 4, 6]])


def test_the_command_writes_a_report_of_runs(model, tmp_path, monkeypatch, capsys):
    run, other, file, out = (tmp_path / name for name in ("run", "other", "m.keras", "report"))
    aezoo.train(small("dense_ae"), "digits", 1, run, limit=300, verbose=False)
    model.save(file)
    shutil.copytree(run, other)
    config = other / "config.json"
    config.write_text(config.read_text().replace('"digits"', '"mnist"'))

    def command(*arguments):
        monkeypatch.setattr(sys, "argv", ["aezoo", "evaluate", *map(str, arguments)])
        with pytest.raises(SystemExit) as done:
            main()
        return done.value.code

    assert command(run, file, "--limit", 100) == 2
    assert "`--data` must be given for a file without a run" in capsys.readouterr().err
    assert command(run, other) == 2
    assert "runs that were trained on different data" in capsys.readouterr().err
    assert not (run / "report.json").exists()
    assert not command(run, "--limit", 60, "--out", out)
    printed = capsys.readouterr()
    assert "dense_ae on digits" in printed.out
    assert "reconstructing" in printed.err
    assert sorted(os.listdir(out)) == ["report.html", "report.json"]
    report = json.loads((out / "report.json").read_text())
    assert list(report["columns"]) == ["dense_ae", "PCA 4"]
    assert report["samples"] == 60
    assert "<h2>Training</h2>" in (out / "report.html").read_text()


def find_browser():
    names = ("chromium", "chromium-browser", "google-chrome", "chrome-headless-shell")
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_in_a_browser(model, tmp_path, scheme):
    """Headless Chromium, of the environment variable CHROMIUM, the system, or playwright."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    models = {"first": model, "second": small("conv_ae", latent_dim=4)}
    cards = {"one": aezoo.evaluate(model, "digits", verbose=False)}
    cards["two"] = aezoo.evaluate(models, "digits", verbose=False)
    with playwright.sync_playwright() as started:
        try:
            browser = started.chromium.launch(executable_path=find_browser(), args=["--no-sandbox"])
        except playwright.Error as error:
            pytest.skip(f"no Chromium: {str(error).splitlines()[0]}")
        for name, card in cards.items():
            path = card.save(tmp_path / name)
            for width in (360, 1200):
                context = browser.new_context(
                    viewport={"width": width, "height": 800}, color_scheme=scheme, offline=True
                )
                page, said = context.new_page(), []
                page.on("console", lambda message, said=said: said.append(message.text))
                page.on("pageerror", lambda error, said=said: said.append(str(error)))
                page.on("request", lambda request, said=said: said.append(request.url)
                        if not request.url.startswith(("data:", "file:")) else None)  # fmt: skip
                page.goto(path.as_uri())
                widths = page.evaluate(
                    "[...document.images].map(image => image.complete && image.naturalWidth)"
                )
                assert len(widths) >= 9
                assert min(widths) > 100
                assert page.evaluate("document.documentElement.scrollWidth") == width
                rows = page.locator("tbody tr").count()
                assert rows > 15
                background, text = page.evaluate(
                    "[getComputedStyle(document.body).backgroundColor,"
                    " getComputedStyle(document.querySelector('.aezoo')).color]"
                )
                assert contrast(background, text) > 10
                assert not said
        browser.close()


def contrast(one, two):
    """The contrast ratio of two colours as a browser writes them."""

    def luminance(colour):
        values = [int(v) / 255 for v in colour[colour.index("(") + 1 : -1].split(",")[:3]]
        linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in values]
        return np.dot(linear, [0.2126, 0.7152, 0.0722])

    dark, light = sorted([luminance(one), luminance(two)])
    return (light + 0.05) / (dark + 0.05)


def test_what_is_measured_is_never_fitted_to(model, test_digits):
    """A dataset that shuffles anew would mix the two parts; one of `load` is known by its rows."""
    import tensorflow as tf

    shuffled = tf.data.Dataset.from_tensor_slices(test_digits).shuffle(360).batch(20)
    with pytest.raises(ValueError, match=r"same order each time.*Received: a dataset"):
        aezoo.evaluate(model, shuffled, verbose=False)
    loaded = aezoo.data.load(test_digits, shuffle=True, batch_size=20)
    found = [
        aezoo.evaluate(model, data, verbose=False).columns["dense_ae"]["mse"]
        for data in (loaded, test_digits)
    ]
    assert found[0] == pytest.approx(found[1], rel=1e-6)


def test_names_with_brackets_are_shown(model, test_digits):
    card = aezoo.evaluate({"[red] net": model}, test_digits, verbose=False)
    assert "[red] net" in str(card)
