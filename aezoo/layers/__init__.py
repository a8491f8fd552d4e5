"""Registered Keras layers that more than one family of autoencoders uses."""

from aezoo.layers.corruption import (
    GaussianCorruption as GaussianCorruption,
)
from aezoo.layers.corruption import (
    MaskingCorruption as MaskingCorruption,
)
from aezoo.layers.corruption import (
    SaltAndPepperCorruption as SaltAndPepperCorruption,
)
