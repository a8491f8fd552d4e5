"""The zoo: one file a family, one factory a model, one import line a factory."""

from aezoo.models.conv import conv_ae as conv_ae
from aezoo.models.denoising import denoising_ae as denoising_ae
from aezoo.models.dense import dense_ae as dense_ae
