"""Autoencoders that are solved, not iterated: one file per family."""

from aezoo.closed_form._model import ClosedForm as ClosedForm
from aezoo.closed_form.elm import elm_ae as elm_ae
from aezoo.closed_form.marginalized import marginalized_ae as marginalized_ae
from aezoo.closed_form.patches import patch_ae as patch_ae
from aezoo.closed_form.pca import pca_ae as pca_ae
from aezoo.closed_form.random_features import random_feature_ae as random_feature_ae
