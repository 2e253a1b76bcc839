"""Whether the hub can be reached."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url
from huggingface_hub.errors import HfHubHTTPError, HFValidationError


def only_local_files(name: str) -> bool:
    """Whether a checkpoint has to come from this machine, since the hub does not answer.

    Without this question every file of a checkpoint is asked for six times, with pauses, before the cache is looked at.

    Args:
        name: The folder or hub id.
    """
    if Path(name).is_dir() or constants.HF_HUB_OFFLINE:
        return False  # transformers sees to these itself
    try:
        get_hf_file_metadata(hf_hub_url(name, "config.json"), timeout=constants.HF_HUB_ETAG_TIMEOUT)
    except (HfHubHTTPError, HFValidationError):
        return False  # an answer, though a refusal, which transformers explains
    except Exception:  # of whichever client the hub's library uses: no name, no route, no time
        return True
    return False
