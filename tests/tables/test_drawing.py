import numpy as np
import pytest
from PIL import Image

from captionrl.tables.drawing import TALLEST, Sheet, read_frames


def test_a_large_picture_is_reduced_before_it_is_drawn(tmp_path):
    Image.effect_noise((3000, 60), 80).save(tmp_path / "large.png")
    Image.effect_noise((640, 480), 80).save(tmp_path / "usual.png")
    sizes = {name: read_frames(tmp_path / f"{name}.png", 3.0, [0])[0].shape for name in ("large", "usual")}
    assert sizes == {"large": (20, 1024, 3), "usual": (480, 640, 3)}


def test_a_tall_picture_takes_no_more_than_three_widths():
    sheet = Sheet()
    assert sheet.picture(np.zeros((1024, 4, 3), np.uint8), 0, 1, 2) == pytest.approx(1 + 2 * TALLEST)
    assert sheet.picture(np.zeros((30, 40, 3), np.uint8), 0, 1, 2) == pytest.approx(1 + 1.5)
