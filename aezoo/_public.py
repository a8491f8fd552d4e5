"""The public names: `aezoo.NAME` is what this module has under that name."""

from aezoo import anomaly as anomaly
from aezoo import callbacks as callbacks
from aezoo import data as data
from aezoo import layers as layers
from aezoo import metrics as metrics
from aezoo import plots as plots
from aezoo import transfer as transfer
from aezoo._autoencoder import Autoencoder as Autoencoder
from aezoo._build import autoencoder as autoencoder
from aezoo._compare import Comparison as Comparison
from aezoo._compare import compare as compare
from aezoo._evaluate import evaluate as evaluate
from aezoo._export import Export as Export
from aezoo._export import export as export
from aezoo._impute import impute as impute
from aezoo._pretrained import list_weights as list_weights
from aezoo._pretrained import save_pretrained as save_pretrained
from aezoo._registry import create as create
from aezoo._registry import list_models as list_models
from aezoo._registry import register as register
from aezoo._report_card import ReportCard as ReportCard
from aezoo._training import Run as Run
from aezoo._training import train as train
from aezoo._version import __version__ as __version__
from aezoo._weights import load_model as load_model
from aezoo.closed_form import ClosedForm as ClosedForm
from aezoo.models import *  # noqa: F403  the one star: models/__init__.py is the index of the zoo
