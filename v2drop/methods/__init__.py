"""Every method, by the name it goes by in tables, tests and notebooks; one line each, in README order."""

from v2drop.methods.base import Method
from v2drop.methods.dart import DART
from v2drop.methods.fastervlm import FasterVLM
from v2drop.methods.fastv import FastV
from v2drop.methods.pdrop import PDrop
from v2drop.methods.random import Random
from v2drop.methods.sparsevlm import SparseVLM
from v2drop.methods.sparsevlm_plus import SparseVLMPlus
from v2drop.methods.transprune import TransPrune
from v2drop.methods.uniform import Uniform
from v2drop.methods.v2drop import V2Drop

METHODS: dict[str, type[Method]] = {
    "v2drop": V2Drop,
    "fastv": FastV,
    "pdrop": PDrop,
    "sparsevlm": SparseVLM,
    "sparsevlm_plus": SparseVLMPlus,
    "dart": DART,
    "transprune": TransPrune,
    "fastervlm": FasterVLM,
    "random": Random,
    "uniform": Uniform,
}
