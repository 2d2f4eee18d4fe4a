"""How a frame becomes a square: for readers of media, which need PyAV, and for backbones, which do not."""

from dataclasses import dataclass

import numpy as np

from captionrl.config.backbones import Facts


@dataclass(frozen=True)
class Resize:
    """How a frame becomes a square of `size` pixels.

    With `shorter`: that many pixels for the shorter side, aspect ratio kept, then the centre `size` x `size`.
    Without: the whole frame is squashed to the square, so that nothing at its borders is lost.
    """

    size: int
    shorter: int | None = None
    interpolation: str = "bilinear"  # of PIL.Image.Resampling, in lower case

    def __str__(self) -> str:
        how = f"squash {self.size}" if self.shorter is None else f"shorter {self.shorter} crop {self.size}"
        return f"{how} {self.interpolation}"

    def scaled(self, width: int, height: int) -> tuple[int, int]:
        """Width and height before the crop; the longer side is rounded down, as torchvision does."""
        if self.shorter is None:
            return self.size, self.size
        least = min(width, height)
        return self.shorter * width // least, self.shorter * height // least

    def crop(self, image: np.ndarray) -> np.ndarray:
        top, left = (round((side - self.size) / 2) for side in image.shape[:2])
        return image[top : top + self.size, left : left + self.size]


def resize_of(facts: Facts) -> Resize:
    """How a backbone takes its frames."""
    return Resize(facts.size, facts.shorter, facts.interpolation)
