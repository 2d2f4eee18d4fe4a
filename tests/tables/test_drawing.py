from PIL import Image

from captionrl.tables.drawing import read_frames


def test_a_large_picture_is_reduced_before_it_is_drawn(tmp_path):
    Image.effect_noise((3000, 60), 80).save(tmp_path / "large.png")
    Image.effect_noise((640, 480), 80).save(tmp_path / "usual.png")
    sizes = {name: read_frames(tmp_path / f"{name}.png", 3.0, [0])[0].shape for name in ("large", "usual")}
    assert sizes == {"large": (20, 1024, 3), "usual": (480, 640, 3)}
