"""Pictures: what they show, and that they leave matplotlib as it was."""

import io

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure

import aezoo
from aezoo import plots
from tests.conftest import small

CURVES = np.random.default_rng(0).normal(size=(6, 20, 2)).astype("float32")


def images_of(axis):
    return axis.get_images()[0].get_array()


@pytest.fixture(scope="module")
def pca(digits):
    model = aezoo.pca_ae((8, 8, 1), 6)
    model.fit(digits, verbose=0)
    return model


def test_no_picture_changes_global_state(pca, digits):
    import matplotlib.pyplot as plt

    before = dict(matplotlib.rcParams)
    errors = {"one": np.full(5, 0.1), "two": np.zeros(5)}
    scores = {"one": {"0": 0.9, "1": 0.8}, "two": {"0": 0.7, "1": 0.6}}
    figures = [
        plots.image_rows({"curves": CURVES, "again": CURVES}, "title", size=0.4),
        plots.reconstructions({"PCA": pca}, digits[:3]),
        plots.worst_and_best({"PCA": pca}, digits[:20], title="title"),
        plots.code_map(CURVES, title="title"),
        plots.code_map(CURVES[:, :1, :1], np.arange(6)),
        plots.code_map(digits[:60], np.arange(60) % 25, method="pca"),
        plots.traversals(pca, digits[:100], directions=2, steps=3, title="title"),
        plots.history({"loss": [0.2, 0.1]}),
        plots.learning_curves({"one": {"loss": [0.2, 0.001]}}, title="title"),
        plots.error_histogram(errors, "title"),
        plots.noise_curve({"one": {0.0: 0.1, 0.5: 0.2}}, "title"),
        plots.class_scores(scores, title="title"),
        plots.class_scores({"one": {str(k): 0.9 for k in range(30)}}),
    ]
    for figure in figures:
        assert isinstance(figure, Figure)
        figure.savefig(io.BytesIO(), format="png", dpi=40)
    assert dict(matplotlib.rcParams) == before
    assert not plt.get_fignums()


def test_worst_and_best_are_in_order(pca, digits):
    x = digits[:40]
    order = np.argsort(pca.reconstruction_error(x))
    figure = plots.worst_and_best({"PCA": pca, "other": small("dense_ae")}, x, 5)
    worst, best = figure.subfigs
    assert len(worst.axes) == len(best.axes) == 15
    for part, chosen in ((worst, order[::-1]), (best, order)):
        for axis, number in zip(part.axes, chosen[:5], strict=False):
            np.testing.assert_allclose(images_of(axis), x[number, ..., 0] / 255, atol=1e-6)


def test_traversals_go_along_the_principal_directions(pca, digits):
    figure = plots.traversals(pca, digits, directions=3, steps=5)
    rows = np.reshape(figure.axes, (3, 5))
    codes = pca.encode(digits)
    middle = np.argmin(np.square(codes - codes.mean(0)).sum(1))
    shown = np.clip(pca.reconstruct(digits[middle : middle + 1])[0, ..., 0], 0, 1)
    for row in rows:
        np.testing.assert_allclose(images_of(row[2]), shown, atol=1e-4)
    shares = [int(row[0].get_ylabel().split(": ")[1].rstrip("%")) for row in rows]
    assert shares == sorted(shares, reverse=True)
    variances = codes.var(0)
    assert shares[0] == pytest.approx(100 * variances[0] / variances.sum(), abs=1)


def test_curves_lie_over_those_of_the_first_row():
    one, two = plots.image_rows({"input": CURVES[:1], "output": CURVES[1:2]}).axes
    assert (len(one.lines), len(two.lines)) == (2, 4)
    np.testing.assert_array_equal(two.lines[1].get_ydata(), CURVES[0, :, 1])
    assert one.get_ylim() == two.get_ylim()
    apart = plots.image_rows({"a": CURVES[:1], "b": CURVES[1:2]}, over_first=False)
    assert len(apart.axes[1].lines) == 2


def test_code_maps_colour_classes_and_name_the_methods(digits):
    labels = np.arange(60) % 3
    axis = plots.code_map(digits[:60], labels, method="pca").axes[0]
    assert [len(points.get_offsets()) for points in axis.collections] == [20, 20, 20]
    assert [text.get_text() for text in axis.texts] == ["0", "1", "2"]
    with pytest.raises(
        ValueError, match=r"`method` must be one of 'tsne', 'pca'.*Received: 'umap'"
    ):
        plots.code_map(digits[:60], method="umap")
    with pytest.raises(ValueError, match="`steps` must be an integer from 1 to 1000"):
        plots.traversals(small("dense_ae"), digits[:10], steps=0)
