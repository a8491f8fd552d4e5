"""The transformer block, for images and for series."""

import keras
from keras import layers, ops


def dense(units, seeds, name, activation=None):
    """A dense layer with a seed of its own."""
    start = keras.initializers.GlorotUniform(seed=seeds())
    return layers.Dense(units, activation, kernel_initializer=start, name=name)


def transformer_block(x, width, heads, seeds, name, seen=None):
    """Attention and a dense net, each after a normalisation and with a skip connection."""
    # Before the attention and not after the sum: such a block trains without a warm-up
    # (Xiong et al., 2020, "On Layer Normalization in the Transformer Architecture").
    normal = layers.LayerNormalization(name=f"{name}_attention_normalisation")(x)
    four = [seeds() for _ in range(4)]
    attention = SelfAttention(heads, max(1, width // heads), four, name=f"{name}_attention")
    attended = attention(normal if seen is None else [normal, seen])
    x = layers.Add(name=f"{name}_attended")([x, attended])
    normal = layers.LayerNormalization(name=f"{name}_dense_normalisation")(x)
    # Four times the width, as in "Attention Is All You Need".
    hidden = dense(4 * width, seeds, f"{name}_hidden", "gelu")(normal)
    return layers.Add(name=f"{name}_sum")([x, dense(width, seeds, f"{name}_dense")(hidden)])


@keras.saving.register_keras_serializable("aezoo")
class SelfAttention(layers.Layer):
    """Multi-head attention of tokens (batch, tokens, width) to each other.

    Keras's own layer gives one seed to all its kernels, which then start with the same values.

    Args:
        heads: Number of heads.
        size: Size of a head.
        seeds: Integers that fix the initial weights of query, key, value and output.

    If tokens come with a mask (batch, tokens), the tokens at False are not attended to.
    """

    def __init__(self, heads, size, seeds, **kwargs):
        super().__init__(**kwargs)
        self.heads, self.size, self.seeds = heads, size, seeds

    def build(self, input_shape):
        width = _tokens(input_shape)[-1]
        sizes = dict.fromkeys(("query", "key", "value"), self.heads * self.size)
        for (name, units), start in zip(
            {**sizes, "output": width}.items(), self.seeds, strict=True
        ):
            start = keras.initializers.GlorotUniform(seed=start)
            layer = layers.Dense(
                units, kernel_initializer=start, dtype=self.dtype_policy, name=name
            )
            layer.build((None, None, self.heads * self.size if name == "output" else width))
            setattr(self, f"{name}_layer", layer)

    def call(self, inputs):
        tokens, seen = inputs if isinstance(inputs, (list, tuple)) else (inputs, None)
        shape = (-1, ops.shape(tokens)[1], self.heads, self.size)
        parts = [
            ops.reshape(layer(tokens), shape)
            for layer in (self.query_layer, self.key_layer, self.value_layer)
        ]
        mask = None if seen is None else seen[:, None, None, :]
        mixed = ops.dot_product_attention(*parts, mask=mask)
        return self.output_layer(ops.reshape(mixed, (-1, shape[1], self.heads * self.size)))

    def get_config(self):
        config = {"heads": self.heads, "size": self.size, "seeds": self.seeds}
        return {**super().get_config(), **config}

    def compute_output_shape(self, input_shape):
        return _tokens(input_shape)


def _tokens(input_shape):
    """The shape of the tokens; `input_shape` may have the shape of a mask as well."""
    alone = input_shape[0] is None or isinstance(input_shape[0], int)
    return tuple(input_shape if alone else input_shape[0])
