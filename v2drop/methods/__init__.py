"""`METHODS`: every method by its name in tables, tests and notebooks, in the order of the README."""

from v2drop.arguments import Named
from v2drop.methods.base import Method
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
from v2drop.methods.in_llm.dart import DART
from v2drop.methods.in_llm.fastv import FastV
from v2drop.methods.in_llm.mustdrop import MustDrop
from v2drop.methods.in_llm.pdrop import PDrop
from v2drop.methods.in_llm.sparsevlm import SparseVLM
from v2drop.methods.in_llm.sparsevlm_plus import SparseVLMPlus
from v2drop.methods.in_llm.transprune import TransPrune
from v2drop.methods.in_llm.v2drop import V2Drop

METHODS: dict[str, type[Method]] = Named(
    "method",
    {
        "v2drop": V2Drop,
        "fastv": FastV,
        "pdrop": PDrop,
        "sparsevlm": SparseVLM,
        "sparsevlm_plus": SparseVLMPlus,
        "dart": DART,
        "transprune": TransPrune,
        "fastervlm": FasterVLM,
        "dycoke": DyCoke,
        "mustdrop": MustDrop,
        "divprune": DivPrune,
        "visionzip": VisionZip,
        "tome": ToMe,
        "downsample": Downsample,
        "random": Random,
        "uniform": Uniform,
        "stratified": Stratified,
        "coverage": Coverage,
    },
)
