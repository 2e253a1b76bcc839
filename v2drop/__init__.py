"""Vision-token dropping on unmodified Hugging Face models."""

from v2drop.budgets.schedule import Schedule
from v2drop.engine.trace import Trace
from v2drop.methods import METHODS, Method
from v2drop.methods.baselines.coverage import Coverage
from v2drop.methods.baselines.random import Random
from v2drop.methods.baselines.stratified import Stratified
from v2drop.methods.baselines.uniform import Uniform
from v2drop.methods.before_llm.divprune import DivPrune
from v2drop.methods.before_llm.downsample import Downsample
from v2drop.methods.before_llm.dycoke import DyCoke
from v2drop.methods.before_llm.fastervlm import FasterVLM
from v2drop.methods.before_llm.tome import ToMe
from v2drop.methods.before_llm.visionzip import VisionZip
from v2drop.methods.composed import Composed
from v2drop.methods.in_llm.dart import DART
from v2drop.methods.in_llm.fastv import FastV
from v2drop.methods.in_llm.mustdrop import MustDrop
from v2drop.methods.in_llm.pdrop import PDrop
from v2drop.methods.in_llm.sparsevlm import SparseVLM
from v2drop.methods.in_llm.sparsevlm_plus import SparseVLMPlus
from v2drop.methods.in_llm.transprune import TransPrune
from v2drop.methods.in_llm.v2drop import V2Drop

__all__ = [
    "DART",
    "METHODS",
    "Composed",
    "Coverage",
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
    "Stratified",
    "ToMe",
    "Trace",
    "TransPrune",
    "Uniform",
    "V2Drop",
    "VisionZip",
]
