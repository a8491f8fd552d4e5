"""What the field's other packages do on the same data: pythae trains, pyod detects.

    python -m benchmarks.peers [--task train|detect] [--quick]

Each peer has an environment of its own, `.peers/NAME`, which is made by pip where it is missing; a
peer that does not install or run is left out by name. `train`: 784-512-32-512-784 with ReLU, Adam
at 0.001, batches of 128, five epochs of MNIST, an autoencoder and a variational one, as each
package's user would write it; seconds of the whole training, compilation included and imports
apart, in turns. `detect`: one digit is normal and nine are not, the mean AUROC over ten; each
detector with the defaults of its package.
"""
