"""Vision-token dropping on unmodified Hugging Face models."""

from v2drop.budgets.schedule import Schedule
from v2drop.methods import METHODS, Method
from v2drop.methods.dart import DART
from v2drop.methods.divprune import DivPrune
from v2drop.methods.downsample import Downsample
from v2drop.methods.dycoke import DyCoke
from v2drop.methods.fastervlm import FasterVLM
from v2drop.methods.fastv import FastV
from v2drop.methods.mustdrop import MustDrop
from v2drop.methods.pdrop import PDrop
from v2drop.methods.random import Random
from v2drop.methods.sparsevlm import SparseVLM
from v2drop.methods.sparsevlm_plus import SparseVLMPlus
from v2drop.methods.tome import ToMe
from v2drop.methods.transprune import TransPrune
from v2drop.methods.uniform import Uniform
from v2drop.methods.v2drop import V2Drop
from v2drop.methods.visionzip import VisionZip
from v2drop.trace import Trace

__all__ = [
    "DART",
    "METHODS",
    "DivPrune",
    "Downsample",
    "DyCoke",
    "FastV",
    "FasterVLM",
    "Method",
    "MustDrop",
    "PDrop",
    "Random",
    "Schedule",
    "SparseVLM",
    "SparseVLMPlus",
    "ToMe",
    "Trace",
    "TransPrune",
    "Uniform",
    "V2Drop",
    "VisionZip",
]
