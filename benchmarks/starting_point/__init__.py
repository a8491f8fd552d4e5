"""The three programs that this project began with, and its answers, on the same data.

    python -m benchmarks.starting_point [--quick]

Each trains 784-128-784 with sigmoids, once on 1,000 samples of uniform noise, as the programs did,
and once on MNIST. The seconds are those of training alone, with compilation; the test error is
measured between epochs. Uniform noise has nothing to learn but its mean: a constant output leaves
an error of 1/12. On samples that it was not fitted to, no linear code of 128 numbers leaves less
than (784 - 128) / 784 / 12.
"""
