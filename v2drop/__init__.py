"""Vision-token dropping on unmodified Hugging Face models."""

from v2drop.methods import METHODS, FasterVLM, FastV, Method, PDrop, Random, Uniform, V2Drop
from v2drop.schedule import Schedule
from v2drop.trace import Trace

__all__ = [
    "METHODS",
    "FastV",
    "FasterVLM",
    "Method",
    "PDrop",
    "Random",
    "Schedule",
    "Trace",
    "Uniform",
    "V2Drop",
]
