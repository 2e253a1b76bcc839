"""Every method, by the name it goes by in tables, tests and notebooks; one line each, in README order."""

from v2drop.methods.base import Method
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

METHODS: dict[str, type[Method]] = {
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
}
