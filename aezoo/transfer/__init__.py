"""What trained encoders are used for: features, probes, classifiers and regressors."""

from aezoo.transfer._features import features as features
from aezoo.transfer._features import layer_features as layer_features
from aezoo.transfer._heads import classifier as classifier
from aezoo.transfer._heads import regressor as regressor
from aezoo.transfer._heads import unfreeze as unfreeze
from aezoo.transfer._label_curve import LabelCurve as LabelCurve
from aezoo.transfer._label_curve import label_curve as label_curve
from aezoo.transfer._probes import Probe as Probe
from aezoo.transfer._probes import knn as knn
from aezoo.transfer._probes import linear_probe as linear_probe
