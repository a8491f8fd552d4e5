"""What is expected of each name that Keras keeps to itself."""

import pathlib
import re

import keras
import numpy as np

import aezoo
from aezoo.backends import keras_private
from tests.conftest import small


def test_all_layers_are_those_of_inner_models_too():
    model = small("dense_ae", hidden_units=(8,))
    names = {layer.name for layer in keras_private.all_layers(model)}
    assert {"encoder", "decoder", "hidden_0", "code", "reconstruction"} <= names
    assert "hidden_0" not in {layer.name for layer in model.layers}


def test_variables_are_made_without_a_step():
    model = small("dense_ae", hidden_units=(8,))
    before = model.get_weights()
    assert not model.optimizer.built
    keras_private.make_variables(model, keras.KerasTensor((4, 8, 8, 1), "uint8"))
    assert model.optimizer.built
    assert {metric.name for metric in model.metrics} >= {"loss"}
    for one, two in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)


def test_a_model_that_has_its_variables_is_not_built_by_keras(digits):
    class Made(keras_private.MadeBefore, keras.Sequential):
        has_its_variables = True

    model = Made([keras.Input((64,)), keras.layers.Dense(64)])
    model.compile("adam", "mse")
    model._maybe_symbolic_build(iterator=iter([digits]))
    assert not model.optimizer.built


def test_a_term_counts_as_that_of_add_loss():
    class Adding(keras.layers.Layer):
        def call(self, x):
            self.add_loss(keras.ops.sum(x, 0))
            return x

    model = keras.Sequential([keras.Input((3,)), Adding()])
    model.compile(loss=None)
    x = np.ones((4, 3), "float32")
    term = keras_private.scaled_for_replicas(model, keras.ops.sum(x, 0))
    assert float(term) == model.evaluate(x, verbose=0) == 12


def test_an_objective_takes_the_place_of_the_compiled_loss(digits):
    """Keras then takes no batch of a source that gives each of them once."""
    model = aezoo.vae((8, 8, 1), 2, hidden_units=(8,), seed=0)
    model.fit(digits[:32], verbose=0)
    assert model._compile_loss.built
    batches = iter([digits[:8] / np.float32(255)] * 3)
    model.fit(batches, verbose=0)
    assert int(model.optimizer.iterations) == 1 + 3


def test_the_variable_of_the_learning_rate():
    optimizer = keras.optimizers.Adam(0.25)
    variable = keras_private.learning_rate_variable(optimizer)
    variable.assign(0.5)
    assert float(optimizer.learning_rate) == 0.5


def test_tensorboard_tells_whether_it_profiles(tmp_path):
    assert not keras_private.may_profile(keras.callbacks.TensorBoard(tmp_path, profile_batch=0))
    assert keras_private.may_profile(keras.callbacks.TensorBoard(tmp_path, profile_batch=2))


def test_the_attribute_of_a_callback_that_holds_the_model():
    callback, model = keras.callbacks.Callback(), small("dense_ae", hidden_units=(8,))
    callback.set_model(model)
    assert vars(callback)[keras_private.MODEL_OF_A_CALLBACK] is model


def test_no_other_file_has_private_names():
    """But for overrides, which `keras_private` makes, and our own names."""
    names = "flatten_layers|symbolic_build|maybe_symbolic_build|learning_rate|compile_loss"
    private = re.compile(rf"\._({names}|aggregate_additional_loss)\b")
    package = pathlib.Path(aezoo.__file__).parent
    found = {path.name for path in package.rglob("*.py") if private.search(path.read_text())}
    assert found == {"keras_private.py"}
