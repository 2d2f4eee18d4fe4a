"""What the figures are drawn with: a sheet that is filled from top to bottom, its text, pictures and colours.

All lengths are inches, measured from the sheet's upper left corner. Equal drawings give equal bytes.
"""

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from PIL import Image, ImageFilter

from captionrl.evaluation.describe import Description
from captionrl.features.resize import Resize
from captionrl.features.video import sample_frames
from captionrl.files import atomic

DPI = 120
WIDTH = 9.0  # of a sheet
TALLEST = 3  # times as high as its place is wide, of a picture
MARGIN = 0.2
BLACK, GREY = "#1a1a1a", "#666666"
# Okabe and Ito's blue, vermillion, green and purple, which colour-blind readers tell apart; the last three darkened
# until they can be read as text on white (contrast 4.5 and more).
SEGMENTS = ("#0072B2", "#B84F00", "#007A5A", "#A34D7D")
# Okabe and Ito's colours but yellow, which is too light for a line.
LINES = ("#000000", "#E69F00", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9")
SHADE = 0.2  # of a picture's brightness, where nobody looks
UPSAMPLED = 16  # pixels of a cell's side before a map of attention is smoothed
HANGING = frozenset("|.,;:!?")  # no line begins with one

Piece = tuple[str, str]  # a word and its colour
DRAWN = Resize(1024, native=True)  # more pixels than any figure has for a frame
Frames = dict[int, np.ndarray]  # RGB [H, W, 3] by number: frame k is on show at k / fps seconds


class Sheet:
    """A page of WIDTH, as high as what is put on it. Every drawing method returns the y of its lower end."""

    def __init__(self) -> None:
        self.height = MARGIN
        self._drawings: list[Callable[[Figure], None]] = []
        self._measure = RendererAgg(1, 1, DPI)

    def text(
        self, pieces: Sequence[Piece], left: float, top: float, width: float, size: float = 9, weight: str = "normal"
    ) -> float:
        """Words in their colours, wrapped at `width`; what hangs may pass it."""
        font = FontProperties(family="DejaVu Sans", size=size, weight=weight)
        space, line, x, y = 0.32 * size / 72, 1.4 * size / 72, left, top
        for word, colour in pieces:
            advance = self._measure.get_text_width_height_descent(word, font, False)[0] / DPI
            if x > left and x + advance > left + width and word not in HANGING:
                x, y = left, y + line
            self._write(word, x, y + size / 72, colour, font)
            x += advance + space
        return self.reach(y + line)

    def title(self, title: str, note: str = "") -> float:
        """The sheet's head, and a note below it."""
        y = self.text(plain(title), MARGIN, MARGIN, WIDTH - 2 * MARGIN, 10, "bold")
        return self.text(plain(note, GREY), MARGIN, y, WIDTH - 2 * MARGIN) if note else y

    def heading(self, text: str, top: float, colour: str) -> float:
        """The name of a test item."""
        return self.text(plain(text, colour), MARGIN, top, WIDTH - 2 * MARGIN, 9, "bold")

    def row(self, name: str, pieces: Sequence[Piece], top: float, label: float) -> float:
        """A name in a column of width `label`, and words beside it."""
        self.text(plain(name), MARGIN, top, label, 9, "bold")
        return self.text(pieces, MARGIN + label, top, WIDTH - 2 * MARGIN - label)

    def picture(self, image: np.ndarray, left: float, top: float, width: float) -> float:
        """RGB [H, W, 3] as wide as `width`, in its own proportions; narrower if it is higher than TALLEST widths."""
        proportion = image.shape[0] / image.shape[1]
        width = min(width, width * TALLEST / proportion)
        height = width * proportion

        def draw(axes: Axes) -> None:
            axes.imshow(image, aspect="auto", interpolation="antialiased")
            axes.set_axis_off()

        return self.plot(draw, left, top, width, height)

    def plot(self, draw: Callable[[Axes], None], left: float, top: float, width: float, height: float) -> float:
        """Axes of this size, for `draw` to fill; what stands outside of them needs room of its own."""

        def drawing(figure: Figure) -> None:
            whole = figure.get_figheight()
            draw(figure.add_axes((left / WIDTH, 1 - (top + height) / whole, width / WIDTH, height / whole)))

        self._drawings.append(drawing)
        return self.reach(top + height)

    def reach(self, y: float) -> float:
        """Make the sheet reach down to y, and return it."""
        self.height = max(self.height, y)
        return y

    def figure(self) -> Figure:
        """The sheet as it stands."""
        figure = Figure((WIDTH, self.height + MARGIN), dpi=DPI, facecolor="white")
        FigureCanvasAgg(figure)
        for draw in self._drawings:
            draw(figure)
        return figure

    def save(self, path: Path) -> None:
        """Write the sheet as PNG."""
        with style.context("default"), atomic(path) as temporary:  # not what the user's matplotlibrc says
            self.figure().savefig(temporary, format="png", metadata={"Software": None})

    def _write(self, word: str, x: float, y: float, colour: str, font: FontProperties) -> None:
        def drawing(figure: Figure) -> None:
            place = (x / WIDTH, 1 - y / figure.get_figheight())
            figure.text(*place, word, color=colour, fontproperties=font, va="baseline", parse_math=False)

        self._drawings.append(drawing)


def plain(text: str, colour: str = BLACK) -> list[Piece]:
    printable = text.encode("utf-8", "replace").decode()  # a file's name may have bytes that are no text
    return [(word, colour) for word in printable.split()]


def coloured(description: Description) -> list[Piece]:
    """A caption's words, each segment in its colour, with | between segments."""
    if not description.words:
        return plain("(no words)", GREY)
    if description.segments is None:
        return [(word, BLACK) for word in description.words]
    pieces: list[Piece] = []
    for index, segment in enumerate(description.segments):
        pieces += [("|", GREY)] if index else []
        pieces += [(word, colour_of(index)) for word in segment]
    return pieces


def colour_of(segment: int) -> str:
    return SEGMENTS[segment % len(SEGMENTS)]


def read_frames(media: Path, fps: float, wanted: Sequence[int]) -> Frames:
    """The frames of a media file that are numbered in `wanted`, no larger than `DRAWN`. Raises MediaError."""
    return {k: image for k, (_, image) in enumerate(sample_frames(media, fps, DRAWN)) if k in wanted}


def film_strip(
    sheet: Sheet,
    frames: Frames,
    chosen: Sequence[int],
    fps: float | None,
    left: float,
    top: float,
    width: float,
) -> float:
    """The frames numbered `chosen` side by side, their times below if they have any; each takes as much of `width`."""
    part, bottom = width / len(chosen), top
    for place, number in enumerate(chosen):
        x = left + place * part
        under = sheet.picture(frames[number], x, top, part - 0.05)
        time = f"{number / fps:.1f} s" if fps else ""
        bottom = max(bottom, sheet.text(plain(time, GREY), x, under + 0.02, part, 8))
    return bottom


def segment_cells(
    sheet: Sheet, found: Description, numbers: np.ndarray, frames: Frames, fps: float, top: float
) -> float:
    """For each segment its key frame, its words and both attentions over the clip (HRL figure 6), up to six in a row.

    `numbers` [N] are those of the sampled frames that the attention is over; `frames` may lack pictures.
    """
    weights, manager, segments = found.segment_attention(), found.segment_manager_attention(), found.segments
    assert weights is not None
    assert manager is not None
    assert segments is not None
    left, gap, columns = MARGIN + 0.35, 0.15, 6
    width = (WIDTH - left - MARGIN - (columns - 1) * gap) / columns
    most = float(max(weights.max(initial=0), manager.max(initial=0)))
    for first in range(0, len(segments), columns):
        row = range(first, min(first + columns, len(segments)))
        xs = [left + (index - first) * (width + gap) for index in row]
        keys = [int(numbers[weights[index].argmax()]) for index in row]
        under = max(
            sheet.picture(frames[key], x, top, width) + 0.03 if key in frames else top
            for x, key in zip(xs, keys, strict=True)
        )
        under = max(
            sheet.text([(word, colour_of(index)) for word in segments[index]], x, under, width, 8.5)
            for x, index in zip(xs, row, strict=True)
        )
        for x, index in zip(xs, row, strict=True):
            area = _Area(weights[index], manager[index], numbers / fps, colour_of(index), most, scale=index == first)
            bottom = sheet.plot(area.draw, x, under + 0.06, width, 0.5)
        top = sheet.reach(bottom + 0.2) + 0.2  # the numbers of the time axis, and a gap
    return top


class _Area:
    """The worker's attention over time as an area, a dot at its highest frame; the manager's as a dashed line.

    A dotted line shows where even attention would be.
    """

    def __init__(
        self, weights: np.ndarray, manager: np.ndarray, times: np.ndarray, colour: str, most: float, scale: bool
    ) -> None:
        self.weights, self.manager, self.times = weights, manager, times
        self.colour, self.most, self.scale = colour, most, scale

    def draw(self, axes: Axes) -> None:
        edges = frame_edges(self.times)
        axes.stairs(self.weights, edges, fill=True, color=self.colour, alpha=0.35, linewidth=0)
        axes.stairs(self.weights, edges, color=self.colour, linewidth=1.2, baseline=None)
        axes.stairs(self.manager, edges, color=BLACK, linewidth=1, linestyle="--", baseline=None)
        axes.axhline(1 / len(self.weights), color=GREY, linewidth=0.8, linestyle=":")
        peak = int(self.weights.argmax())
        axes.plot((edges[peak] + edges[peak + 1]) / 2, self.weights[peak], "o", color=self.colour, markersize=3.5)
        axes.set_xlim(edges[0], edges[-1])
        axes.set_ylim(0, 1.12 * self.most)
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_xticks([edges[0], edges[-1]], [f"{edges[0]:.0f}", f"{edges[-1]:.1f} s"])
        axes.get_xticklabels()[0].set_horizontalalignment("left")
        axes.get_xticklabels()[1].set_horizontalalignment("right")
        axes.set_yticks([0, self.most], ["0", f"{self.most:.2f}"] if self.scale else ["", ""])
        axes.tick_params(labelsize=8, length=2, colors=GREY)


def word_rows(sheet: Sheet, found: Description, width: float, left: float, top: float) -> float:
    """Each word's attention over the clip as a row of a heat map; the words stand left of it."""
    weights = found.attention
    assert weights is not None
    row = 0.18

    def draw(axes: Axes) -> None:
        axes.imshow(weights, aspect="auto", cmap="Blues", vmin=0, interpolation="nearest")
        axes.set_yticks(range(len(found.words)), found.words, parse_math=False)
        axes.set_xticks([])
        axes.tick_params(labelsize=8, length=0, labelcolor=BLACK)
        axes.spines[:].set_color(GREY)

    bottom = sheet.plot(draw, left, top, width, row * len(weights))
    note = f"attention of each word over the frames above; white 0, darkest {weights.max():.2f}"
    return sheet.text(plain(note, GREY), left, bottom + 0.04, width, 8)


def stage_maps(sheet: Sheet, found: Description, image: np.ndarray | None, left: float, top: float) -> float:
    """A picture, and where each fine stage looked at each word: a row a stage, as bright as it is attended to.

    The attention is over the cells of a square grid, row by row; `image` RGB [H, W, 3], without it the maps alone.
    """
    maps = found.stage_attention
    assert maps is not None
    whole, label, gap, columns = 1.2, 0.55, 0.05, 12
    bottom = top if image is None else sheet.picture(image, left, top + 0.2, whole)
    left += whole + 0.1
    width = (WIDTH - left - MARGIN - label) / columns - gap
    most = float(maps.max(initial=0))
    for first in range(0, len(found.words), columns):
        words, y = range(first, min(first + columns, len(found.words))), top
        xs = [left + label + (word - first) * (width + gap) for word in words]
        for x, word in zip(xs, words, strict=True):
            under = sheet.text([(found.words[word], BLACK)], x, y, width + gap, 7.5)
        y = under + 0.02
        for stage, grids in enumerate(maps, start=1):
            sheet.text(plain(f"stage {stage}", GREY), left, y + width / 2 - 0.08, label, 8)
            for x, word in zip(xs, words, strict=True):
                under = sheet.picture(attention_overlay(image, grids[word] / most), x, y, width)
            y = under + gap
        top = y + 0.04
    note = f"darkest: attention 0, full brightness {most:.2f}; spread evenly it would be {1 / maps.shape[2]:.2f}"
    return max(bottom, sheet.text(plain(note, GREY), left + label, top, WIDTH - left - label - MARGIN, 8))


def attention_overlay(image: np.ndarray | None, light: np.ndarray) -> np.ndarray:
    """A picture [H, W, 3] (None: white), square; where `light` [side * side], 0 to 1 by cell, is 0, it has SHADE.

    Each cell becomes UPSAMPLED pixels a side, which a Gaussian smooths, as for the paper's Figure 3 (Stack-Cap); its
    width is ours, a quarter of a cell.
    """
    side, size = math.isqrt(len(light)), (96, 96)
    picture = Image.new("RGB", size, "white") if image is None else Image.fromarray(image).resize(size)
    cells = Image.fromarray((255 * light.reshape(side, side)).round().astype(np.uint8))
    large = cells.resize((UPSAMPLED * side, UPSAMPLED * side), Image.Resampling.NEAREST)
    smooth = large.filter(ImageFilter.GaussianBlur(UPSAMPLED / 4)).resize(size, Image.Resampling.BILINEAR)
    brightness = SHADE + (1 - SHADE) * np.asarray(smooth) / 255
    return (np.asarray(picture) * brightness[..., None]).astype(np.uint8)


def frame_edges(times: np.ndarray) -> np.ndarray:
    """Where each frame's stretch of a clip begins, and where the last one's ends: seconds [N] -> [N + 1]."""
    step = times[-1] - times[-2] if len(times) > 1 else 1.0
    return np.append(times, times[-1] + step)
