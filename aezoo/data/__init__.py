"""Sources of data as `tf.data` pipelines or NumPy arrays."""

from aezoo.data._load import arrays as arrays
from aezoo.data._load import load as load
from aezoo.data._load import splits as splits
