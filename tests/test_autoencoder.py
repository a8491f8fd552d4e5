"""`aezoo.autoencoder` on a user's own networks, and `aezoo.load_model`."""

import keras
import numpy as np
import pytest

import aezoo


def sequential(inputs, outputs, activation=None):
    return keras.Sequential([keras.Input((inputs,)), keras.layers.Dense(outputs, activation)])


def test_own_networks_get_the_whole_contract(digits, tmp_path):
    x = digits.reshape(-1, 64)
    model = aezoo.autoencoder(
        sequential(64, 8),
        sequential(8, 64, "sigmoid"),
        corruption=keras.layers.GaussianDropout(0.2),
    )
    model.fit(x[:200], validation_data=x[200:250], epochs=2, verbose=0)
    model.save(tmp_path / "own.keras")
    loaded = aezoo.load_model(tmp_path / "own.keras")
    np.testing.assert_array_equal(loaded.reconstruct(x[:9]), model.reconstruct(x[:9]))
    assert isinstance(loaded.corruption, keras.layers.GaussianDropout)
    assert loaded.corrupt(x[:9]).shape == (9, 64)


def test_it_shares_the_layers_of_the_networks_it_was_given():
    encoder, decoder = sequential(64, 8), sequential(8, 64)
    model = aezoo.autoencoder(encoder, decoder)
    assert model.encoder.layers[-1] is encoder.layers[-1]
    assert model.optimizer.name == "adam"


@pytest.mark.parametrize(
    ("encoder", "decoder", "message"),
    [
        (sequential(64, 8), sequential(9, 64), "`decoder` must take the encoder's codes"),
        (sequential(64, 8), sequential(8, 65), "`decoder` must return the encoder's input shape"),
        (keras.Sequential([keras.layers.Dense(3)]), sequential(3, 64), "`encoder` must be"),
        (sequential(64, 8), lambda z: z, "`decoder` must be a functional or Sequential"),
    ],
)
def test_networks_that_do_not_fit_are_refused(encoder, decoder, message):
    with pytest.raises(ValueError, match=f"{message}.*Received: "):
        aezoo.autoencoder(encoder, decoder)


def test_load_model_says_what_is_wrong(tmp_path):
    with pytest.raises(FileNotFoundError, match="Received: "):
        aezoo.load_model(tmp_path / "none.keras")
    with pytest.raises(FileNotFoundError, match="run folder"):
        aezoo.load_model(tmp_path)
    plain = sequential(4, 4)
    plain.save(tmp_path / "plain.keras")
    with pytest.raises(ValueError, match=r"must hold an aezoo Autoencoder. Received: a Sequential"):
        aezoo.load_model(tmp_path / "plain.keras")
    aezoo.dense_ae((16,), 2).save(tmp_path / "m.keras")
    whole = (tmp_path / "m.keras").read_bytes()
    for content in (b"", b"hello", whole[: len(whole) // 2], whole[:-30]):
        (tmp_path / "broken.keras").write_bytes(content)
        with pytest.raises(ValueError, match=r"must be a whole .keras file"):
            aezoo.load_model(tmp_path / "broken.keras")


def test_wildcards_and_near_names():
    assert aezoo.list_models("*conv*") == ["conv_ae"]
    with pytest.raises(ValueError, match="did you mean 'dense_ae'"):
        aezoo.create("dens_ae", (4,))


def test_a_registered_factory_is_found_by_name():
    from aezoo.models import _registry

    @aezoo.register
    def tiny_ae(input_shape, latent_dim=2):
        """A tiny one."""
        return aezoo.dense_ae(input_shape, latent_dim, hidden_units=())

    try:
        model = aezoo.create("tiny_ae", (9,))
        assert model.recipe == {"model": "tiny_ae", "arguments": {"input_shape": (9,)}}
    finally:
        del _registry._FACTORIES["tiny_ae"]
