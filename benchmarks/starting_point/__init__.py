"""The three programs that this project began from, and what it answers, on the same data.

    python -m benchmarks.starting_point [--quick]

Each is asked to train 784-128-784 with sigmoids, once on 1,000 samples of uniform noise, as the
programs were, and once on MNIST. Seconds are those of training alone, compilation included; the
test error is measured between epochs. Uniform noise has nothing to learn: its mean leaves 1/12,
and no linear code of 128 numbers leaves less than (784 - 128) / 784 / 12 of samples it has not
seen.
"""
