"""What a type checker must find right, and what wrong: CI runs mypy on this file.

A call that is wrong carries the name of its error; one that was not found wrong fails the run.
"""

import pathlib

import aezoo

aezoo.conv_ae(weights="mnist").encode([])
aezoo.conv_ae(weights=pathlib.Path("conv_ae.keras"))
aezoo.conv_ae((28, 28, 1), 16, filters=(8, 16), activation="relu", learning_rate=0.01, seed=0)
aezoo.dense_ae((784,), jit_compile="auto", compile=False, name="mine")
aezoo.vae((8, 8, 1), likelihood="gaussian", variance="learnt").log_likelihood([])
aezoo.unet_ae((8, 8, 1), corruption=aezoo.layers.MaskingCorruption(0.5)).reconstruct([])
aezoo.pca_ae((8, 8, 1)).partial_fit([])
aezoo.train(aezoo.dense_ae((8, 8, 1)), "digits").metrics["mse"]

aezoo.conv_ae((28, 28, 1), latent_dim="16")  # type: ignore[arg-type]
aezoo.conv_ae((28, 28, 1), latent=16)  # type: ignore[call-arg]
aezoo.conv_ae("mnist")  # type: ignore[arg-type]
aezoo.conv_ae(weights=3)  # type: ignore[arg-type]
aezoo.conv_ae((28, 28, 1), 16, (8, 16))  # type: ignore[call-arg]
aezoo.vae((8, 8, 1), likelihood="poisson")  # type: ignore[arg-type]
aezoo.dense_ae((784,), jit_compile="yes")  # type: ignore[arg-type]
