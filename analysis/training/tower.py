"""Stage 1 of the recipe: a vision tower learns to name digit, colour and place of every patch, by heads on it."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from analysis.scenes.drawing import COLOURS
from analysis.scenes.mosaic import PICTURE_SIDES, SIDE, Scene, scene
from analysis.training.model import WIDTH

TRAINING_SEED = 0  # of both stages


def scenes_at(step: int, batch: int) -> list[Scene]:
    """The training scenes of one step, all of one size; no scene occurs twice in a stage."""
    side = PICTURE_SIDES[step % len(PICTURE_SIDES)]
    return [scene("train", TRAINING_SEED + 1, step * batch + i, side) for i in range(batch)]


def held_out_scenes(n: int) -> list[Scene]:
    """Test scenes for the logs of training."""
    return [scene("test", TRAINING_SEED + 1, i, SIDE) for i in range(n)]


def pixels(scenes: list[Scene]) -> Tensor:
    """The pixel values that the processor makes of the pictures: float32 [batch, 3, side, side] in [-1, 1]."""
    return torch.from_numpy(np.stack([s.image for s in scenes])).permute(0, 3, 1, 2).float() / 127.5 - 1


class PatchReader(nn.Module):
    """Linear heads on a vision tower: digit, colour and place of every patch; from the class token, what is present.

    The class token has a task of its own, so that its attention tells methods that rank patches by it something.
    """

    def __init__(self, tower: nn.Module) -> None:
        """Add heads to a CLIP vision tower; they are not needed after training."""
        super().__init__()
        self.tower, self.norm = tower, nn.LayerNorm(WIDTH)
        self.digit, self.colour, self.place = nn.Linear(WIDTH, 11), nn.Linear(WIDTH, 9), nn.Linear(WIDTH, 2)
        self.present = nn.Linear(WIDTH, 18)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Logits of digit and of colour and the place for every patch, and logits of what is present."""
        states = self.tower(pixel_values=images, interpolate_pos_encoding=True).last_hidden_state
        patches, seen = self.norm(states[:, 1:]), self.norm(states[:, 0])
        return self.digit(patches), self.colour(patches), self.place(patches), self.present(seen)


def patch_labels(scenes: list[Scene]) -> tuple[Tensor, Tensor, Tensor]:
    """Digit (10: none) and colour (8: none) of patches, int64 [batch, patches]; what is present, float [batch, 18]."""
    digit = torch.full((len(scenes), scenes[0].grid ** 2), 10)
    colour = torch.full_like(digit, len(COLOURS))
    present = torch.zeros(len(scenes), 10 + len(COLOURS))
    for i, drawn in ((i, d) for i, each in enumerate(scenes) for d in each.digits):
        hue = list(COLOURS).index(drawn.colour)
        digit[i, list(drawn.patches)], colour[i, list(drawn.patches)] = drawn.digit, hue
        present[i, [drawn.digit, 10 + hue]] = 1
    return digit, colour, present


def tower_loss(reader: PatchReader, scenes: list[Scene], device: str) -> tuple[Tensor, dict[str, float]]:
    """The loss of stage 1 (cross-entropies, squared error of the place), and accuracies by task."""
    digit, colour, present = (t.to(device) for t in patch_labels(scenes))
    digit_logits, colour_logits, place, present_logits = (x.float() for x in reader(pixels(scenes).to(device)))
    axis = torch.linspace(-1, 1, scenes[0].grid, device=device)
    loss = (
        patch_loss(digit_logits, digit)
        + patch_loss(colour_logits, colour)
        + F.mse_loss(place, torch.cartesian_prod(axis, axis).expand_as(place))
        + F.binary_cross_entropy_with_logits(present_logits, present)
    )
    filled = digit < 10
    right = {
        "digit": digit_logits.argmax(-1)[filled] == digit[filled],
        "colour": colour_logits.argmax(-1)[filled] == colour[filled],
        "empty": digit_logits.argmax(-1)[~filled] == 10,
        "present": (present_logits > 0) == present.bool(),
    }
    return loss, {name: hits.float().mean().item() for name, hits in right.items()}


def patch_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy over patches; the last class, "empty", counts little, since four patches in five are."""
    weight = torch.ones(logits.shape[-1], device=logits.device)
    weight[-1] = 0.1
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten(), weight)
