"""The zoo: one file per family, one factory per model, one import line per factory."""

from aezoo.models.adversarial import adversarial_ae as adversarial_ae
from aezoo.models.contractive import contractive_ae as contractive_ae
from aezoo.models.conv import conv_ae as conv_ae
from aezoo.models.denoising import denoising_ae as denoising_ae
from aezoo.models.dense import dense_ae as dense_ae
from aezoo.models.masked import masked_ae as masked_ae
from aezoo.models.sequence import sequence_ae as sequence_ae
from aezoo.models.sparse import sparse_ae as sparse_ae
from aezoo.models.unet import unet_ae as unet_ae
from aezoo.models.vae import vae as vae
from aezoo.models.vq_vae import vq_vae as vq_vae
from aezoo.models.wae import wae as wae
