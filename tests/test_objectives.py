"""What families minimise: terms that layers add, and objectives of tensors that they hand over."""

import keras
import numpy as np
import pytest
from keras import ops

import aezoo
from aezoo.layers import Sampling
from aezoo.layers.reporting import add_batch_penalty, add_penalty, report
from aezoo.layers.seeds import Seeds
from aezoo.losses import BernoulliLikelihood, GaussianLikelihood
from aezoo.models._networks import Networks
from aezoo.models.masked import MaskedLoss
from aezoo.models.vae import variational

REPORTED = {
    "adversarial_ae": {"discriminator_accuracy"},
    "contractive_ae": {"contraction", "relative_contraction"},
    "sparse_ae": {"active"},
    "vae": {"kl", "reconstruction", "active_units"},
    "vq_vae": {"perplexity", "used_codes"},
    "wae": {"mmd"},
}


@pytest.mark.parametrize("name", REPORTED)
def test_terms_are_reported_on_every_backend(name, digits):
    model = aezoo.create(name, (8, 8, 1), seed=0)
    history = model.fit(digits[:64], verbose=0).history
    assert set(history) == {"loss", "mse"} | REPORTED[name]
    # An unbiased discrepancy may be below 0, and no unit need be active after two steps.
    positive = set(history) - {"mmd", "active_units"}
    assert all(history[key][0] > 0 for key in positive)


def test_two_models_may_share_a_loss(digits):
    """Nothing of a model is left in its loss: each is trained as if the loss were its own."""
    x, options = digits[:64], {"hidden_units": (8,), "seed": 0}
    shared = GaussianLikelihood("learnt")
    losses = []
    for loss in (shared, GaussianLikelihood("learnt")):
        first, second = (
            aezoo.vae((8, 8, 1), 2, likelihood="gaussian", variance="learnt", **options)
            for _ in range(2)
        )
        first.compile("adam", shared)
        second.compile("adam", loss)
        first.decoder.get_layer("log_variance").begin_at(4.0)
        first.evaluate(x, verbose=0)
        losses.append(second.evaluate(x, verbose=0))
    assert losses[0] == losses[1]
    loss = MaskedLoss("mse", 0.1)
    sizes = {"embedding_dim": 8, "depth": 1, "decoder_depth": 1, "seed": 0}
    small, large = (aezoo.masked_ae((8, 8, 1), patch_size=size, **sizes) for size in (2, 4))
    alone = small.evaluate(x, verbose=0)[0]
    for model in (small, large):
        model.compile("adam", loss)
    assert small.evaluate(x, verbose=0)[0] == pytest.approx(alone, rel=1e-6)


def test_a_layer_in_another_model_adds_its_own_loss():
    """Outside of this package's models a layer does as Keras's layers do."""
    inputs = keras.Input((6,))
    model = keras.Model(inputs, Sampling(name="sampling")(keras.layers.Dense(4)(inputs)))
    x = np.ones((8, 6), "float32")
    model(x)
    (divergence,) = model.losses
    assert float(divergence) > 0


@keras.saving.register_keras_serializable("tests")
class TotalCorrelation(Sampling):
    """The beta-TC divergence of Chen et al., 2018, with minibatch-weighted sampling."""

    def add_divergence(self, mean, log_variance, code, training):
        apart = code[:, None] - mean[None]
        logs = -0.5 * (apart**2 / ops.exp(log_variance) + log_variance + np.log(2 * np.pi))
        count = np.log(64)  # the size of the batches below
        joint = ops.logsumexp(ops.sum(logs, -1), 1) - count
        product = ops.sum(ops.logsumexp(logs, 1) - count, -1)
        own = ops.sum(0.5 * (-log_variance - (code - mean) ** 2 / ops.exp(log_variance)), -1)
        prior = -0.5 * ops.sum(code**2, -1)
        add_penalty(self, own - joint)
        add_batch_penalty(self, self.beta * ops.mean(joint - product))
        add_penalty(self, product - prior)
        report(self.kl, own - prior)


def beta_tc_vae(input_shape, latent_dim=8, *, beta=6.0, hidden_units=(64,), seed=None, **shared):
    """A family of its own: one class, and a factory of three lines."""
    nets = Networks("dense", input_shape, hidden_units, (), "silu", "sigmoid", Seeds(seed))
    sampling = TotalCorrelation(beta, seed=nets.seeds(), name="sampling")
    net = nets.encoder(2 * latent_dim)
    return variational(nets, net, sampling, BernoulliLikelihood(), **shared)


def test_a_new_divergence_is_one_class(digits, tmp_path):
    model = beta_tc_vae((8, 8, 1), 4, seed=0, learning_rate=0.003)
    history = model.fit(digits[:1408], batch_size=64, epochs=6, verbose=0).history
    assert history["loss"][-1] < 0.9 * history["loss"][0]
    assert history["kl"][-1] > 0.5
    model.save(tmp_path / "m.keras")
    again = keras.saving.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(again.encode(digits[:20]), model.encode(digits[:20]))
