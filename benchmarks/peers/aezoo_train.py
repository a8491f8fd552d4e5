"""The same nets in aezoo; arguments: DATA.npz MODEL EPOCHS."""

import json
import sys
import time

import numpy as np

import aezoo

path, name, epochs = sys.argv[1:]
data = np.load(path)
x, test = data["x"], data["test"]
start = time.perf_counter()
# pythae's VAE has a gaussian likelihood of variance 1 and the whole divergence
objective = {"likelihood": "gaussian", "variance": 1.0} if name == "vae" else {}
model = aezoo.create(
    name, x.shape[1:], 32, hidden_units=(512,), activation="relu", learning_rate=1e-3, seed=0,
    **objective,
)  # fmt: skip
model.fit(aezoo.data.load(x, batch_size=128, seed=0), epochs=int(epochs), verbose=0)
seconds = time.perf_counter() - start
if name == "vae":  # pythae reconstructs from a drawn code, and so is compared with one
    mean, log_variance = model.encode(test, return_distribution=True)
    noise = np.random.default_rng(0).standard_normal(mean.shape)
    outputs = model.decode((mean + np.exp(log_variance / 2) * noise).astype("float32"))
    error = float(np.square(outputs - test / np.float32(255)).mean())
else:
    error = float(model.reconstruction_error(test).mean())
print(json.dumps({"seconds": seconds, "value": error}))
