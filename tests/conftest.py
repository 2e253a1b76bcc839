"""Set-up of the whole suite."""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import jaxtyping
import pytest
import torch
from hypothesis import settings

import v2drop  # noqa: F401 - before doctests, which would import single modules of it a second time
from v2drop.models.torchvision_ops import usable

usable()  # before a test imports classes of transformers

torch.set_num_threads(1)  # tiny models: threads wait for each other longer than they work
settings.register_profile("v2drop", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("v2drop")


@pytest.fixture(scope="module")
def embedded():
    """The embedded model, as `analysis.load` gives it."""
    from analysis.models.loading import EMBEDDED, load  # late, as usable() must come before

    return load(EMBEDDED)


@pytest.fixture
def asked():
    """One picture and one question, as `Loaded.inputs` takes them."""
    from analysis.scenes.questions import sample

    scene, question = sample(1)[0]
    return [scene.image], [question.text]


@pytest.fixture
def without_type_checker(monkeypatch):
    """What a user meets: outside the tests nothing but the library itself checks arguments."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
