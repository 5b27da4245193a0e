"""Encoders: ResNeXt1D in three sizes, the authors' published checkpoints, encoders trained here, and your own."""

from ecgloss.models.encoder import Encoder
from ecgloss.models.heads import Classifier, multilabel_loss
from ecgloss.models.official import load_clef
from ecgloss.models.physioclr import PhysioCLRDecoder, PhysioCLREncoder, physioclr
from ecgloss.models.pretrained import EncoderCard, load_encoder, random_encoder, save_encoder
from ecgloss.models.resnext1d import ResNeXt1D, resnext1d

__all__ = [
    "Classifier",
    "Encoder",
    "EncoderCard",
    "PhysioCLRDecoder",
    "PhysioCLREncoder",
    "ResNeXt1D",
    "load_clef",
    "load_encoder",
    "multilabel_loss",
    "physioclr",
    "random_encoder",
    "resnext1d",
    "save_encoder",
]
