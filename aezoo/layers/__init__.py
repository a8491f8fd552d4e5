"""Registered Keras layers that more than one family of autoencoders uses."""

from aezoo.layers.corruption import AffineCorruption as AffineCorruption
from aezoo.layers.corruption import GaussianCorruption as GaussianCorruption
from aezoo.layers.corruption import MaskingCorruption as MaskingCorruption
from aezoo.layers.corruption import SaltAndPepperCorruption as SaltAndPepperCorruption
from aezoo.layers.sampling import MaximumMeanDiscrepancy as MaximumMeanDiscrepancy
from aezoo.layers.sampling import Sampling as Sampling
