"""Pictures of the mini world, and clips and GIFs of them."""

import hashlib
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from random import Random

import av
import numpy as np
from PIL import Image, ImageDraw, ImageEnhance

from captionrl.datasets.mini.stills import Still
from captionrl.datasets.mini.world import GROUND, HEIGHTS, Pose, Scene, pose_at
from captionrl.files import atomic

SIDE = 96  # pixels
QUICK, SLOW = (50, 60, 80), (160, 200, 250, 290)  # ms that a frame of a GIF stays, give or take 10

PAINT = {
    "red": (214, 40, 40),
    "blue": (40, 80, 220),
    "green": (30, 150, 60),
    "yellow": (245, 210, 40),
    "purple": (140, 50, 170),
    "white": (250, 250, 250),
}
SKIN, DARK = (236, 188, 150), (35, 30, 30)


def render(scene: Scene, time: float) -> Image.Image:
    """The RGB picture of `scene` at `time` seconds, SIDE x SIDE pixels."""
    picture = _backdrop(scene.place, scene.look).copy()
    draw = ImageDraw.Draw(picture)
    event, pose = scene.event_at(time), pose_at(scene, time)
    _draw_actor(draw, scene, pose, event.facing, stride=time * 6)
    _draw_object(draw, event.object, PAINT[event.object_colour], pose)
    return picture


def write_clip(scene: Scene, path: Path, fps: Fraction) -> None:
    """Encode `scene` as H.264 in an mp4 file; equal scenes give equal bytes."""
    with atomic(path) as temporary, av.open(str(temporary), "w", options={"fflags": "+bitexact"}) as container:
        # x264's mbtree reads memory that it never wrote: with it, equal pictures give other bytes now and then.
        options = {"crf": "20", "preset": "veryfast", "x264-params": "mbtree=0"}
        stream = container.add_stream("libx264", rate=fps, options=options)
        stream.width = stream.height = SIDE
        stream.pix_fmt = "yuv420p"
        stream.codec_context.thread_count = 1
        for index in range(round(scene.seconds * fps)):
            picture = render(scene, float(index / fps))
            container.mux(stream.encode(av.VideoFrame.from_image(picture)))
        container.mux(stream.encode(None))


def render_still(still: Still) -> Image.Image:
    """The RGB picture of `still`, SIDE x SIDE pixels, in the sizes and colours of `render`."""
    picture = _backdrop(still.place, still.look).copy()
    draw = ImageDraw.Draw(picture)
    for figure in still.figures:
        scene = Scene(figure.actor, figure.colour, still.place, (), still.look)
        _draw_actor(draw, scene, Pose(figure.x, GROUND, figure.x, GROUND), figure.facing, stride=0)
    for thing in sorted(still.things, key=lambda thing: thing.where == "front"):
        _draw_object(draw, thing.object, PAINT[thing.colour], Pose(thing.x, GROUND, thing.x, thing.y))
    return picture


def write_still(still: Still, path: Path) -> None:
    """Save `still` as JPEG; equal stills give equal bytes."""
    with atomic(path) as temporary:
        render_still(still).save(temporary, quality=90)


def write_gif(scene: Scene, path: Path) -> None:
    """Save `scene` as an animated GIF of 64 colours; equal scenes give equal bytes.

    A frame stays for 40 to 300 ms, by turns in quick passages and in slow ones, as in GIFs that were thinned out by
    hand; longer where nothing moves.
    """
    random = Random(scene.look)
    palette = _palette(scene)
    frames: list[Image.Image] = []
    delays: list[int] = []
    paces, until = random.choice((QUICK, SLOW)), 0.0
    while (time := sum(delays) / 1000) < scene.seconds:
        if time >= until:
            paces, until = SLOW if paces == QUICK else QUICK, time + random.uniform(0.4, 1.0)
            pace = random.choice(paces)
        frame = render(scene, time).quantize(palette=palette, dither=Image.Dither.NONE)
        delay = pace + random.choice((-10, 0, 10))
        if frames and frame.tobytes() == frames[-1].tobytes():  # Pillow would fold them too
            delays[-1] += delay
        else:
            frames.append(frame)
            delays.append(delay)
    with atomic(path) as temporary:
        frames[0].save(temporary, save_all=True, append_images=frames[1:], duration=delays, loop=0, optimize=False)


def _palette(scene: Scene) -> Image.Image:
    """The 64 colours of four moments."""
    moments = [render(scene, share * scene.seconds) for share in (0.0, 0.3, 0.6, 0.9)]
    return Image.fromarray(np.concatenate([np.asarray(moment) for moment in moments])).quantize(64)


@lru_cache(maxsize=4)
def _backdrop(place: str, look: int) -> Image.Image:
    """The place, with details and light that differ from clip to clip."""
    random = Random(f"{place}{look}")
    picture = Image.new("RGB", (SIDE, SIDE))
    draw = ImageDraw.Draw(picture)
    horizon, shift = int(SIDE * (GROUND - 0.1)), random.randint(-14, 14)

    def box(x0: float, y0: float, x1: float, y1: float, fill: tuple[int, int, int]) -> None:
        draw.rectangle((x0, y0, x1, y1), fill=fill)

    match place:
        case "kitchen":
            box(0, 0, SIDE, horizon, (222, 226, 214))
            for x in range(shift % 12, SIDE, 12):
                draw.line((x, 0, x, horizon), fill=(196, 202, 190))
            for y in range(0, horizon, 12):
                draw.line((0, y, SIDE, y), fill=(196, 202, 190))
            box(30 + shift, 44, 74 + shift, horizon, (150, 108, 70))
            box(0, horizon, SIDE, SIDE, (120, 112, 104))
        case "beach":
            box(0, 0, SIDE, 46, (150, 208, 245))
            box(0, 46, SIDE, horizon - 6, (30, 120, 190))
            box(0, horizon - 6, SIDE, SIDE, (232, 210, 150))
            draw.ellipse((70 + shift, 6, 84 + shift, 20), fill=(255, 236, 130))
        case "park":
            box(0, 0, SIDE, 50, (186, 224, 246))
            box(0, 50, SIDE, SIDE, (104, 176, 84))
            box(20 + shift, 26, 26 + shift, horizon, (96, 66, 40))
            draw.ellipse((8 + shift, 4, 38 + shift, 36), fill=(44, 112, 50))
        case "street":
            box(0, 0, SIDE, horizon, (196, 200, 206))
            for x in range(-20 + shift, SIDE, 30):
                box(x, 14 + (x % 4) * 4, x + 24, horizon, (146, 120, 112))
                for y in range(24, 56, 12):
                    box(x + 4, y, x + 9, y + 6, (236, 226, 160))
            box(0, horizon, SIDE, SIDE, (84, 84, 90))
        case "bedroom":
            box(0, 0, SIDE, horizon, (232, 206, 214))
            box(50 + shift, 46, 96 + shift, horizon, (118, 134, 190))
            box(10 + shift, 12, 32 + shift, 34, (170, 214, 240))
            box(0, horizon, SIDE, SIDE, (160, 116, 80))
        case "stage":
            box(0, 0, SIDE, horizon, (56, 16, 28))
            for x in range(shift % 10, SIDE, 10):
                draw.line((x, 0, x, horizon), fill=(96, 26, 42), width=3)
            box(0, horizon, SIDE, SIDE, (186, 148, 96))
    shaded = np.asarray(ImageEnhance.Brightness(picture).enhance(random.uniform(0.8, 1.15)), dtype=np.int16)
    seed = int.from_bytes(hashlib.sha256(f"{place}{look}".encode()).digest()[:8], "big")
    grain = np.random.default_rng(seed).integers(-6, 7, shaded.shape, dtype=np.int16)
    return Image.fromarray(np.clip(shaded + grain, 0, 255).astype(np.uint8))


def _draw_actor(draw: ImageDraw.ImageDraw, scene: Scene, pose: Pose, facing: int, stride: float) -> None:
    x, foot, tall = pose.actor_x * SIDE, pose.actor_y * SIDE, HEIGHTS[scene.actor] * SIDE
    paint, step = PAINT[scene.colour], 3 * (1 if int(stride) % 2 else -1)
    match scene.actor:
        case "man" | "boy" | "woman" | "girl":
            head, hip = 0.13 * tall, foot - 0.42 * tall
            top = foot - tall
            for side in (-1, 1):
                draw.line((x, hip, x + side * step, foot), fill=DARK, width=max(2, int(tall / 12)))
            shoulder = top + 2 * head
            if scene.actor in ("woman", "girl"):  # a dress and long hair
                hair = (110, 56, 20)
                draw.ellipse((x - head - 2, top - 1, x + head + 2, top + 3.4 * head), fill=hair)
                draw.polygon(
                    (
                        (x - head, shoulder),
                        (x + head, shoulder),
                        (x + 0.24 * tall, hip + 4),
                        (x - 0.24 * tall, hip + 4),
                    ),
                    fill=paint,
                    outline=DARK,
                )
            else:
                draw.rectangle((x - 0.15 * tall, shoulder, x + 0.15 * tall, hip), fill=paint, outline=DARK)
            draw.line((x, shoulder + 3, x + facing * 0.26 * tall, foot - 0.5 * tall), fill=SKIN, width=3)
            draw.ellipse((x - head, top, x + head, top + 2 * head), fill=SKIN, outline=DARK)
            if scene.actor in ("man", "boy"):
                draw.pieslice((x - head, top - 1, x + head, top + 2 * head), 180, 360, fill=DARK)
        case "dog" | "cat":
            body, half = tall * 0.5, tall * 0.75
            for leg in (-0.8 * half, -0.5 * half, 0.5 * half, 0.8 * half):
                draw.line((x + leg, foot - body, x + leg + step / 2, foot), fill=DARK, width=2)
            draw.ellipse((x - half, foot - tall, x + half, foot - 0.3 * tall), fill=paint, outline=DARK)
            hx, hy, r = x + facing * half, foot - tall, tall * 0.32
            if scene.actor == "dog":  # hanging ears, a thick tail
                draw.ellipse((hx - r, hy - r, hx + r, hy + r), fill=(150, 100, 50), outline=DARK)
                draw.ellipse((hx - r, hy - r / 2, hx - r / 4, hy + 1.5 * r), fill=(90, 56, 30))
                draw.line((x - facing * half, foot - 0.7 * tall, x - facing * (half + 5), foot - tall), DARK, width=3)
            else:  # pointed ears, a long thin tail
                draw.polygon(((hx - r, hy), (hx - r, hy - 2 * r), (hx, hy - r)), fill=(90, 90, 100))
                draw.polygon(((hx + r, hy), (hx + r, hy - 2 * r), (hx, hy - r)), fill=(90, 90, 100))
                draw.ellipse((hx - r, hy - r, hx + r, hy + r), fill=(130, 130, 140), outline=DARK)
                tail = x - facing * (half + 3)
                draw.line((x - facing * half, foot - 0.6 * tall, tail, foot - 1.7 * tall), DARK, width=1)
        case "robot":
            top = foot - tall
            for leg in (x - 5, x + 5):
                draw.rectangle((leg - 2, foot - 0.3 * tall, leg + 2, foot - abs(step) + 3), fill=(110, 116, 124))
            draw.rectangle((x - 10, foot - 0.7 * tall, x + 10, foot - 0.28 * tall), fill=paint, outline=DARK)
            draw.rectangle((x - 7, top, x + 7, foot - 0.72 * tall), fill=(170, 176, 184), outline=DARK)
            draw.rectangle((x - 4 + 2 * facing, top + 4, x + 4 + 2 * facing, top + 6), fill=(250, 60, 60))
            draw.line((x, top, x, top - 5), fill=DARK, width=2)


def _draw_object(draw: ImageDraw.ImageDraw, thing: str, paint: tuple[int, int, int], pose: Pose) -> None:
    x, y = pose.object_x * SIDE, pose.object_y * SIDE
    match thing:
        case "ball":
            draw.ellipse((x - 9, y - 9, x + 9, y + 9), fill=paint, outline=DARK)
            draw.arc((x - 14, y - 9, x + 4, y + 9), 300, 60, fill=DARK)
        case "box":
            draw.rectangle((x - 11, y - 11, x + 11, y + 11), fill=paint, outline=DARK, width=2)
            draw.line((x - 11, y - 11, x + 11, y + 11), fill=DARK, width=2)
            draw.line((x - 11, y + 11, x + 11, y - 11), fill=DARK, width=2)
        case "cup":
            draw.arc((x, y - 6, x + 15, y + 5), 270, 90, fill=DARK, width=3)
            draw.polygon(((x - 9, y - 10), (x + 7, y - 10), (x + 3, y + 10), (x - 5, y + 10)), paint, DARK)
        case "book":
            draw.rectangle((x - 14, y - 5, x + 14, y + 7), fill=paint, outline=DARK)
            draw.rectangle((x - 12, y, x + 14, y + 4), fill=(250, 246, 230))
        case "kite":
            draw.polygon(((x, y - 16), (x + 10, y - 3), (x, y + 10), (x - 10, y - 3)), fill=paint, outline=DARK)
            draw.line((x, y + 10, x - 6, y + 18), fill=DARK, width=2)
        case "drum":
            draw.rectangle((x - 12, y - 5, x + 12, y + 10), fill=paint, outline=DARK)
            draw.ellipse((x - 12, y - 11, x + 12, y), fill=(240, 232, 214), outline=DARK)
            for stick in (-7, 7):
                draw.line((x + stick, y - 6, x + 2 * stick, y - 18), fill=DARK, width=2)
        case "bag":
            draw.arc((x - 7, y - 16, x + 7, y + 2), 180, 360, fill=DARK, width=3)
            draw.polygon(((x - 8, y - 6), (x + 8, y - 6), (x + 13, y + 10), (x - 13, y + 10)), paint, DARK)
        case "hat":
            draw.rectangle((x - 6, y - 12, x + 6, y + 4), fill=paint, outline=DARK)
            draw.rectangle((x - 14, y + 3, x + 14, y + 6), fill=DARK)
