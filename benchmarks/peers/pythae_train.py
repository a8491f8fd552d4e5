"""pythae's own pipeline, run in pythae's environment; arguments: DATA.npz MODEL EPOCHS."""

import json
import os
import sys
import tempfile
import time

import numpy as np
import torch
from pythae.models import AE, VAE, AEConfig, VAEConfig
from pythae.pipelines import TrainingPipeline
from pythae.trainers import BaseTrainerConfig

path, name, epochs = sys.argv[1:]
torch.set_num_threads(len(os.sched_getaffinity(0)))
torch.manual_seed(0)
data = np.load(path)
x, test = (data[key].transpose(0, 3, 1, 2) / np.float32(255) for key in ("x", "test"))
model, config = {"dense_ae": (AE, AEConfig), "vae": (VAE, VAEConfig)}[name]
with tempfile.TemporaryDirectory() as folder:
    start = time.perf_counter()
    pipeline = TrainingPipeline(
        model=model(config(input_dim=x.shape[1:], latent_dim=32)),
        training_config=BaseTrainerConfig(
            output_dir=folder,
            num_epochs=int(epochs),
            learning_rate=1e-3,
            per_device_train_batch_size=128,
        ),
    )
    pipeline(train_data=x)
    seconds = time.perf_counter() - start
with torch.no_grad():
    found = pipeline.model.reconstruct(torch.from_numpy(test)).numpy()
print(json.dumps({"seconds": seconds, "value": float(np.square(found - test).mean())}))
