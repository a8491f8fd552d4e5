"""The same nets in aezoo: DATA.npz MODEL EPOCHS."""

import json
import sys
import time

import numpy as np

import aezoo

path, name, epochs = sys.argv[1:]
data = np.load(path)
x, test = data["x"], data["test"]
start = time.perf_counter()
model = aezoo.create(
    name, x.shape[1:], 32, hidden_units=(512,), activation="relu", learning_rate=1e-3, seed=0
)
model.fit(aezoo.data.load(x, batch_size=128, seed=0), epochs=int(epochs), verbose=0)
seconds = time.perf_counter() - start
error = float(model.reconstruction_error(test).mean())
print(json.dumps({"seconds": seconds, "value": error}))
