"""What the masked family promises."""

import keras
import numpy as np
import pytest

import aezoo
from aezoo.inputs.arrays import to_numpy
from aezoo.layers.patches import (
    AddPositions,
    MaskPatches,
    RestorePatches,
    cut_patches,
    join_patches,
)
from aezoo.layers.reporting import collecting, drawing
from aezoo.models.masked import of_pixels


def pixels(mask):
    """The mask of patches (batch, 16) as one of pixels (batch, 8, 8, 1)."""
    return to_numpy(of_pixels(keras.ops.convert_to_tensor(mask), (8, 8), 2))[..., None]


def small(shape=(8, 8, 1), **options):
    sizes = {"embedding_dim": 16, "patch_size": 2, "depth": 1, "decoder_dim": 16}
    return aezoo.masked_ae(shape, **{**sizes, "decoder_depth": 1, "seed": 0, **options})


@pytest.mark.parametrize(("height", "width", "size"), [(8, 8, 4), (7, 10, 3), (5, 5, 5), (3, 2, 1)])
def test_patches_join_to_the_image(height, width, size):
    x = np.random.default_rng(0).random((2, height, width, 3), "float32")
    patches = cut_patches(x, size)
    np.testing.assert_array_equal(join_patches(patches, (height, width), size), x)
    first = np.asarray(patches)[:, 0].reshape(2, size, size, 3)
    np.testing.assert_array_equal(first, x[:, :size, :size])


def test_masked_tokens_are_never_seen_and_the_others_return():
    tokens = np.random.default_rng(0).random((4, 12, 5), "float32")
    mask, restore = MaskPatches(0.75, seed=0), RestorePatches(seed=1)
    with collecting() as outputs:
        visible, order = mask(tokens, training=True)
    assert visible.shape == (4, 3, 5)
    restored, hidden = to_numpy(restore([visible, order])), to_numpy(outputs["mask"]) == 1
    assert (hidden.sum(1) == 9).all()
    np.testing.assert_array_equal(restored[~hidden], tokens[~hidden])
    np.testing.assert_array_equal(
        restored[hidden], np.broadcast_to(to_numpy(restore.mask_token), restored[hidden].shape)
    )
    assert (hidden != hidden[::-1]).any()
    everything, _ = mask(tokens)
    np.testing.assert_array_equal(restore([everything, order]), tokens)


def test_the_loss_is_that_of_masked_patches_alone(digits):
    x = digits[:8].astype("float32") / 255
    model = small(visible_weight=0.0, normalize_patches=False)
    found = model.evaluate(x, verbose=0, return_dict=True)
    assert found["loss"] == pytest.approx(found["mse"], rel=1e-5)
    predicted, mask = to_numpy(model(x)), np.zeros((8, 16), "float32")
    mask[:, ::3] = 1
    hidden = pixels(mask) == 1
    outputs = {"reconstruction": predicted, "mask": keras.ops.convert_to_tensor(mask)}
    expected = ((x - predicted) ** 2)[hidden].mean()
    for fill in (0.0, 1.0):  # what stands at the visible pixels does not count
        y = np.where(hidden, x, fill).astype("float32")
        found = model.compute_loss(y=keras.ops.convert_to_tensor(y), y_pred=outputs)
        np.testing.assert_allclose(to_numpy(found), expected, rtol=1e-5)


def test_the_encoder_sees_visible_patches_alone(digits):
    model = small()
    x = digits[:4].astype("float32") / 255
    layer, codes = model.mask_layer, []
    layer.evaluation.begin()
    with drawing(), collecting() as outputs:
        model.encoder(x)
    for hidden in (0.0, 1.0):
        layer.evaluation.begin()
        with drawing():
            there = np.where(pixels(outputs["mask"]) == 1, hidden, x)
            codes.append(to_numpy(model.encoder(there)))
    np.testing.assert_array_equal(*codes)


def test_normalised_errors_are_those_of_normalised_patches():
    rng = np.random.default_rng(0)
    x, y = rng.random((2, 5, 8, 8, 1)).astype("float32")
    model = small(normalize_patches=True)
    patches, predicted = (np.asarray(cut_patches(part, 2)) for part in (x, y))
    variance = patches.var(-1, keepdims=True) + 0.01
    expected = ((patches - predicted) ** 2 / variance).mean()
    x, y = keras.ops.convert_to_tensor(x), keras.ops.convert_to_tensor(y)
    np.testing.assert_allclose(to_numpy(model.compute_loss(y=x, y_pred=y)), expected, rtol=1e-4)


def test_the_error_of_weighed_samples_is_that_of_their_masked_patches(digits):
    model, x = small(), digits[:8].astype("float32") / 255
    model.run_eagerly = True
    weights = np.arange(8, dtype="float32")
    found = model.evaluate(x, x, 8, sample_weight=weights, verbose=0, return_dict=True)["mse"]
    model.mask_layer.evaluation.begin()  # the same draws again
    with drawing(), collecting() as outputs:
        predicted = to_numpy(model(x, training=False))
    counted = weights[:, None, None, None] * pixels(outputs["mask"])
    expected = (counted * (predicted - x) ** 2).sum() / counted.sum()
    assert found == pytest.approx(expected, rel=1e-4)


def test_what_is_seen_stays_as_it_is(test_digits):
    model, x = small(embedding_dim=32, mask_ratio=0.5), test_digits[:40]
    model.run_eagerly = True
    seen, filled = model.fill_in(x, seed=0)
    hidden = seen != x / np.float32(255)
    assert hidden.any()
    np.testing.assert_array_equal(filled[~hidden], seen[~hidden])
    assert model.features(x).shape == (40, 32)


@pytest.mark.slow  # tests/test_contract.py and test_evaluation_draws.py train one in the fast tests
def test_learns_to_fill_in(digits, test_digits):
    model = small(embedding_dim=32, mask_ratio=0.5, learning_rate=0.003)
    history = model.fit(digits, epochs=20, validation_data=test_digits, verbose=0).history
    assert history["val_mse"][-1] < 0.75 * history["val_mse"][0]
    seen, filled = model.fill_in(test_digits, seed=0)
    hidden = seen != test_digits / np.float32(255)
    constant = digits.mean(0) / 255
    error = ((filled - test_digits / 255) ** 2)[hidden].mean()
    assert error < ((constant - test_digits / 255) ** 2)[hidden].mean()
    np.testing.assert_array_equal(filled[~hidden], seen[~hidden])
    whole = model.reconstruction_error(test_digits).mean()
    assert whole < 0.3 * ((constant - test_digits / 255) ** 2).mean()
    assert model.features(test_digits).shape == (360, 32)


@pytest.mark.parametrize(("visible_weight", "whole"), [(0.1, 2), (0.0, 0)])
def test_few_samples_are_whole_in_training_where_whole_images_are_to_be_learnt(
    visible_weight, whole, digits
):
    model = small(visible_weight=visible_weight)
    with collecting() as outputs:
        model(digits[:40] / np.float32(255), training=True)
    masked = to_numpy(outputs["mask"]).sum(1)
    np.testing.assert_array_equal(masked, [0] * whole + [12] * (40 - whole))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_whole_images_are_reconstructed_whatever_the_seed(seed, digits, test_digits):
    model = small(embedding_dim=32, seed=seed)
    model.fit(digits, batch_size=64, epochs=10, verbose=0)
    variance = (digits / 255.0).var(0).mean()
    assert model.reconstruction_error(test_digits).mean() < 0.3 * variance


def test_weights_serve_another_size(digits):
    model, larger = small(), small((11, 13, 1))
    larger.set_weights(model.get_weights())
    assert larger.reconstruct(np.zeros((2, 11, 13, 1), "float32")).shape == (2, 11, 13, 1)
    one = AddPositions((2, 3))(np.zeros((1, 6, 8), "float32"))
    other = AddPositions((4, 3))(np.zeros((1, 12, 8), "float32"))
    np.testing.assert_array_equal(one[0], other[0, :6])


def test_wrong_arguments():
    for options in ({"mask_ratio": 1.5}, {"patch_size": 0}, {"heads": 2.5}, {"visible_weight": -1}):
        with pytest.raises(ValueError, match=f"`{next(iter(options))}`.*Received"):
            small(**options)
