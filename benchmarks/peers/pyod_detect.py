"""pyod's detectors with their defaults; runs in pyod's environment: DATA.npz DETECTOR DIGITS."""

import importlib
import json
import sys
import time

import numpy as np
from sklearn.metrics import roc_auc_score

path, name, digits = sys.argv[1:]
data = np.load(path)
x, test = (data[key].reshape(len(data[key]), -1) / np.float32(255) for key in ("x", "test"))
module = {"AutoEncoder": "auto_encoder"}.get(name, name.lower())
detector = getattr(importlib.import_module(f"pyod.models.{module}"), name)
areas, start = [], time.perf_counter()
for digit in range(int(digits)):
    model = detector()
    model.fit(x[data["labels"] == digit])
    areas.append(roc_auc_score(data["test_labels"] != digit, model.decision_function(test)))
seconds = time.perf_counter() - start
print(json.dumps({"seconds": seconds, "value": float(np.mean(areas))}))
