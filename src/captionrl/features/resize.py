"""How a frame becomes what a backbone sees: for readers of media, which need PyAV, and for backbones, which do not."""

from dataclasses import dataclass

import numpy as np

from captionrl.config.backbones import Facts


@dataclass(frozen=True)
class Resize:
    """How a frame becomes a square of `size` pixels.

    With `shorter`: that many pixels for the shorter side, aspect ratio kept, then the centre `size` x `size`.
    Without: the whole frame is squashed to the square, so that nothing at its borders is lost. `native`: it becomes no
    square, but stays as it is; one whose longer side is above `size` is reduced to that, aspect ratio kept.
    """

    size: int
    shorter: int | None = None
    interpolation: str = "bilinear"  # of PIL.Image.Resampling, in lower case
    native: bool = False

    def __str__(self) -> str:
        if self.native:
            return f"native, at most {self.size} {self.interpolation}"
        how = f"squash {self.size}" if self.shorter is None else f"shorter {self.shorter} crop {self.size}"
        return f"{how} {self.interpolation}"

    def scaled(self, width: int, height: int) -> tuple[int, int]:
        """Width and height before the crop; the longer side is rounded down, as torchvision does."""
        if self.native:
            longest = max(width, height)
            most = min(self.size, longest)
            return max(1, most * width // longest), max(1, most * height // longest)
        if self.shorter is None:
            return self.size, self.size
        least = min(width, height)
        return self.shorter * width // least, self.shorter * height // least

    def crop(self, image: np.ndarray) -> np.ndarray:
        if self.native:
            return image
        top, left = (round((side - self.size) / 2) for side in image.shape[:2])
        return image[top : top + self.size, left : left + self.size]


def resize_of(facts: Facts) -> Resize:
    """How a backbone takes its frames."""
    return Resize(facts.size, facts.shorter, facts.interpolation, facts.native)
