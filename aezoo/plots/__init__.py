"""Pictures as matplotlib figures; no global state is read or changed."""

from aezoo.plots._codes import code_map as code_map
from aezoo.plots._codes import traversals as traversals
from aezoo.plots._curves import class_scores as class_scores
from aezoo.plots._curves import error_histogram as error_histogram
from aezoo.plots._curves import history as history
from aezoo.plots._curves import label_curve as label_curve
from aezoo.plots._curves import learning_curves as learning_curves
from aezoo.plots._curves import noise_curve as noise_curve
from aezoo.plots._maps import heat_maps as heat_maps
from aezoo.plots._samples import image_rows as image_rows
from aezoo.plots._samples import reconstructions as reconstructions
from aezoo.plots._samples import worst_and_best as worst_and_best
