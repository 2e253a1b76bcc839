"""Set-up of the whole suite."""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

from importlib.util import find_spec

import torch
from hypothesis import settings

if find_spec("torchvision") and torch.version.cuda is None:  # its wheel was linked to CUDA and needs these to import
    TORCHVISION = torch.library.Library("torchvision", "DEF")
    for operator in ("nms", "qnms"):
        TORCHVISION.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

torch.set_num_threads(1)  # tiny models: threads wait for each other longer than they work
settings.register_profile("v2drop", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("v2drop")
