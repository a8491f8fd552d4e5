"""A sigmoid autoencoder with gradients by hand: full batches, a loop over the epochs."""

import numpy as np


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def gradients(weights, x, right=True):
    """Of the mean squared error; `right=False` has the two mistakes of the first program.

    There the output's gradient lacks the sigmoid's derivative, as if the loss were the
    cross-entropy, and it is summed over the batch, not averaged.
    """
    w1, b1, w2, b2 = weights
    hidden = sigmoid(x @ w1 + b1)
    output = sigmoid(hidden @ w2 + b2)
    delta = output - x
    if right:
        delta = 2 * delta * output * (1 - output) / x.size
    back = delta @ w2.T * hidden * (1 - hidden)
    return [x.T @ back, back.sum(0), hidden.T @ delta, delta.sum(0)]


def train(x, epochs, on_epoch, right=True, learning_rate=0.01, units=128, seed=0):
    generator = np.random.default_rng(seed)
    size = x.shape[1]
    weights = [
        generator.normal(0, 0.01, (size, units)).astype(x.dtype), np.zeros(units, x.dtype),
        generator.normal(0, 0.01, (units, size)).astype(x.dtype), np.zeros(size, x.dtype),
    ]  # fmt: skip

    def reconstruct(x):
        w1, b1, w2, b2 = weights
        return sigmoid(sigmoid(x @ w1 + b1) @ w2 + b2)

    for _ in range(epochs):
        for weight, gradient in zip(weights, gradients(weights, x, right), strict=True):
            weight -= learning_rate * gradient
        on_epoch(reconstruct)


def train_with_mistakes(x, epochs, on_epoch):
    with np.errstate(over="ignore"):
        train(x, epochs, on_epoch, right=False)
