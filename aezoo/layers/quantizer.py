"""The codebook of a vector-quantised autoencoder."""

import keras
from keras import ops

from aezoo.backends.replica_step import first_of_replicas, gather_over_replicas, sum_over_replicas
from aezoo.layers.reporting import add_penalty, report, reporting
from aezoo.metrics import CodebookUse

DEAD = 0.1  # an entry whose use is below this share of the mean use begins again


@keras.saving.register_keras_serializable("aezoo")
class VectorQuantizer(keras.layers.Layer):
    """Replaces vectors by their nearest entries of a codebook; gradients pass straight through.

    Args:
        codebook_size: Number of entries.
        commitment_weight: Weight in the loss of the mean squared distance from the nearest entries.
        update: "ema": entries are moving averages of the vectors that chose them; "gradient":
            they are trained by the same distance.
        decay: Decay of the moving averages per step.
        seed: Integer that fixes the initial entries and those that begin again, or None.

    Input and output are (batch, ..., dimension). An entry whose average use falls below a tenth of
    the mean use begins again at a vector of the batch; in the first step all entries do.

    Example:

    >>> layer = VectorQuantizer(8, seed=0)
    >>> x = np.random.default_rng(0).normal(size=(5, 3, 2)).astype("float32")
    >>> _ = layer(x, training=True)
    >>> layer(x).shape, layer.indices(x).shape
    (TensorShape([5, 3, 2]), TensorShape([5, 3]))

    Reference:
        van den Oord, Vinyals, Kavukcuoglu, 2017, "Neural Discrete Representation Learning",
        https://arxiv.org/abs/1711.00937; Razavi et al., 2019, appendix A; Dhariwal et al.,
        2020, https://arxiv.org/abs/2005.00341 (revival)
    """

    def __init__(
        self,
        codebook_size,
        commitment_weight=0.25,
        update="ema",
        decay=0.99,
        *,
        seed=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.codebook_size, self.commitment_weight = codebook_size, commitment_weight
        self.update, self.decay, self.seed = update, decay, seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def build(self, input_shape):
        shape = (self.codebook_size, input_shape[-1])
        start = keras.initializers.RandomNormal(stddev=1.0, seed=self.seed)
        self.codebook = self.add_weight(
            name="codebook",
            shape=shape,
            initializer=start,
            trainable=self.update == "gradient",
            autocast=False,
        )
        options = {"initializer": "zeros", "trainable": False, "autocast": False}
        # Begins at 0, so that in the first step every entry counts as dead and starts at data.
        self.use = self.add_weight(name="use", shape=shape[:1], **options)
        if self.update == "ema":
            self.sums = self.add_weight(name="sums", shape=shape, **options)
        self.use_metric = CodebookUse(self.codebook_size)

    def call(self, inputs, training=None):
        indices = self.indices(inputs)
        quantized = self.lookup(indices)
        if not reporting():
            return quantized
        axes = tuple(range(1, len(inputs.shape)))
        # The third term of equation 3 of the paper; with "gradient" the second one follows.
        distance = ops.mean(ops.square(inputs - ops.stop_gradient(quantized)), axes)
        add_penalty(self, distance, self.commitment_weight)
        if self.update == "gradient":
            add_penalty(self, ops.mean(ops.square(ops.stop_gradient(inputs) - quantized), axes))
        report(self.use_metric, indices)
        if not training:
            return quantized
        if self.trainable:
            self._follow(ops.stop_gradient(inputs), indices)
        # The straight-through estimator: the value of the entry, the gradient of the input.
        return inputs + ops.stop_gradient(quantized - inputs)

    def indices(self, vectors):
        """The nearest entries of vectors (..., dimension), integers (...)."""
        # In half precision, an entry that is nearly as close would often be chosen.
        codebook = ops.convert_to_tensor(self.codebook)
        vectors = ops.cast(vectors, codebook.dtype)
        products = ops.matmul(vectors, ops.transpose(codebook))
        # The negative squared distance without |vector|^2, which is the same for every entry.
        closeness = 2 * products - ops.sum(ops.square(codebook), -1)
        return ops.top_k(closeness, 1)[1][..., 0]  # faster than argmax, and every export has it

    def lookup(self, indices):
        """The entries with these indices."""
        return ops.take(ops.cast(self.codebook, self.compute_dtype), indices, 0)

    def _follow(self, vectors, indices):
        """One step of the moving averages; they are relative to the mean use."""
        dtype = self.use.dtype
        vectors = ops.cast(ops.reshape(vectors, (-1, vectors.shape[-1])), dtype)
        indices = ops.reshape(indices, (-1,))
        # Scaled so that even use is 1 for every entry, at any size of batch and codebook.
        scale = (1 - self.decay) * self.codebook_size
        scale = scale / sum_over_replicas(ops.cast(ops.shape(vectors)[0], dtype))

        def totals(parts):
            here = ops.segment_sum(parts, indices, self.codebook_size)
            return scale * sum_over_replicas(here)

        use = self.decay * self.use + totals(ops.ones_like(vectors[:, 0]))
        dead = use < DEAD
        codebook = ops.convert_to_tensor(self.codebook)
        if self.update == "ema":
            sums = self.decay * self.sums + totals(vectors)
            # Both decay at the same rate, so their ratio needs no correction for its start at 0.
            codebook = sums / ops.maximum(use, 1e-6)[:, None]
        chance = keras.random.uniform((self.codebook_size,), seed=self.seed_generator, dtype=dtype)
        # An entry must begin again at the same vector on all replicas, whichever of them saw it.
        everywhere = gather_over_replicas(vectors)
        count = ops.shape(everywhere)[0]
        rows = ops.cast(first_of_replicas(chance) * ops.cast(count, dtype), "int32")
        reborn = ops.take(everywhere, ops.minimum(rows, count - 1), 0)
        codebook = ops.where(dead[:, None], reborn, codebook)
        self.codebook.assign(codebook)
        self.use.assign(ops.where(dead, ops.ones_like(use), use))
        if self.update == "ema":
            self.sums.assign(ops.where(dead[:, None], reborn, sums))

    def get_config(self):
        config = {"codebook_size": self.codebook_size, "update": self.update, "seed": self.seed}
        config |= {"commitment_weight": self.commitment_weight, "decay": self.decay}
        return {**super().get_config(), **config}

    def compute_output_shape(self, input_shape):
        return input_shape
