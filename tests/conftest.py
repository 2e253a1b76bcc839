"""Set-up of the whole suite."""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import torch
from hypothesis import settings

from analysis.torchvision_ops import usable

usable()  # before a test imports classes of transformers

torch.set_num_threads(1)  # tiny models: threads wait for each other longer than they work
settings.register_profile("v2drop", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("v2drop")
