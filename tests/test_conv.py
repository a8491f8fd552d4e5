"""What `conv_ae` alone promises."""

import numpy as np
import pytest
from sklearn.decomposition import PCA

import aezoo


def test_beats_pca_of_the_same_code_size(digits, test_digits):
    model = aezoo.conv_ae((8, 8, 1), 8, seed=0)
    model.fit(digits, epochs=40, batch_size=64, verbose=0)
    pca = PCA(8).fit(digits.reshape(-1, 64) / 255.0)
    flat = test_digits.reshape(-1, 64) / 255.0
    baseline = np.square(flat - pca.inverse_transform(pca.transform(flat))).mean()
    assert model.reconstruction_error(test_digits).mean() < 0.9 * baseline


@pytest.mark.parametrize(
    ("shape", "filters", "code"),
    [
        ((28, 28, 1), (8, 16), (7, 7, 5)),
        ((27, 30, 3), (8, 16), (7, 8, 5)),
        ((1, 1, 2), (4, 4, 4), (1, 1, 5)),
        ((45, 2), (8, 16), (12, 5)),
    ],
)
def test_spatial_code(shape, filters, code):
    model = aezoo.conv_ae(shape, 5, filters=filters, spatial_code=True)
    assert model.encoder.output_shape[1:] == code
    x = np.zeros((2, *shape), "uint8")
    assert model.encode(x).shape == (2, *code)
    assert model.reconstruct(x).shape == x.shape


def test_upsampling_overlaps_evenly():
    """A constant code must not make a checkerboard: neighbours inside are alike."""
    model = aezoo.conv_ae((32, 32, 1), 1, filters=(4,), spatial_code=True, output_activation=None)
    for layer in model.decoder.layers:
        for variable in layer.trainable_variables:
            if "kernel" in variable.name:
                variable.assign(np.ones(variable.shape))
    inside = model.decode(np.ones((1, 16, 16, 1), "float32"))[0, 8:-8, 8:-8, 0]
    np.testing.assert_allclose(inside, inside[0, 0], rtol=1e-5)


@pytest.mark.parametrize("filters", [(), (0,), "32"])
def test_wrong_filters(filters):
    with pytest.raises(ValueError, match=r"`filters`.*Received"):
        aezoo.conv_ae((8, 8, 1), 2, filters=filters)


def test_vectors_are_refused():
    with pytest.raises(ValueError, match=r"\(steps, channels\) or \(height, width, channels\)"):
        aezoo.conv_ae((64,))
