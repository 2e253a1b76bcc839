"""What lmms-eval finds under the entry point `lmms_eval.models`: the name of the model, and where its class is."""

from __future__ import annotations

from typing import Any

MODEL_ID = "v2drop"
CLASS_PATH = "analysis.lmms.model.V2DropModel"


def manifest() -> Any:
    """The `ModelManifest` of lmms-eval, which calls this while it looks for models.

    Imported late, so that this module can be imported without lmms-eval, and none of torch's weight comes with it.
    """
    from lmms_eval.models.registry_v2 import ModelManifest

    return ModelManifest(model_id=MODEL_ID, simple_class_path=CLASS_PATH)
