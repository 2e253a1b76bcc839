"""Vision-token dropping on unmodified Hugging Face models."""

from v2drop.methods import METHODS, Method, Random, Uniform, V2Drop
from v2drop.schedule import Schedule
from v2drop.trace import Trace

__all__ = ["METHODS", "Method", "Random", "Schedule", "Trace", "Uniform", "V2Drop"]
