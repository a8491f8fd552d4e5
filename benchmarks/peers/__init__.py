"""Other packages on the same data: pythae trains autoencoders, pyod detects anomalies.

    python -m benchmarks.peers [--task train|detect] [--quick]

Each peer has its own environment, `.peers/NAME`, which is made with pip if it is missing. A peer
that cannot be installed or run is left out, and its name is printed.

`train`: an autoencoder and a variational one, 784-512-32-512-784 with ReLU, Adam at 0.001, batches
of 128, five epochs of MNIST, as a user of each package would write it. The seconds are those of the
whole training, with compilation and without imports; the peers take turns.

`detect`: one digit is normal and nine are not; the metric is the mean AUROC over the ten digits.
Each detector has the defaults of its package.
"""
