"""The public names: `aezoo.NAME` is what this module has under that name."""

# Type checkers take a name for public where it is imported `as` itself.
from aezoo import anomaly as anomaly
from aezoo import callbacks as callbacks
from aezoo import data as data
from aezoo import layers as layers
from aezoo import metrics as metrics
from aezoo import plots as plots
from aezoo import transfer as transfer
from aezoo.closed_form import *  # noqa: F403  the room indexes its factories
from aezoo.closed_form import ClosedForm as ClosedForm
from aezoo.evaluation.comparison import Comparison as Comparison
from aezoo.evaluation.comparison import compare as compare
from aezoo.evaluation.report import evaluate as evaluate
from aezoo.evaluation.report_card import ReportCard as ReportCard
from aezoo.exporting.exporter import Export as Export
from aezoo.exporting.exporter import export as export
from aezoo.imputation import impute as impute
from aezoo.model_classes.autoencoder import Autoencoder as Autoencoder
from aezoo.model_classes.generative import GenerativeAutoencoder as GenerativeAutoencoder
from aezoo.model_classes.generative import VariationalAutoencoder as VariationalAutoencoder
from aezoo.model_classes.reconstruction_model import ReconstructionModel as ReconstructionModel
from aezoo.models import *  # noqa: F403  as above
from aezoo.models._build import autoencoder as autoencoder
from aezoo.models._registry import create as create
from aezoo.models._registry import list_models as list_models
from aezoo.models._registry import register as register
from aezoo.models.masked import MaskedAutoencoder as MaskedAutoencoder
from aezoo.models.vq_vae import VectorQuantizedAutoencoder as VectorQuantizedAutoencoder
from aezoo.saving.load import load_model as load_model
from aezoo.saving.pretrained import list_weights as list_weights
from aezoo.saving.pretrained import save_pretrained as save_pretrained
from aezoo.training.recipe import Run as Run
from aezoo.training.recipe import train as train
