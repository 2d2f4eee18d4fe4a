"""The validation curves that trainings of several seeds leave, to the end of the shortest."""

from collections.abc import Sequence
from pathlib import Path

from captionrl.errors import UserError
from captionrl.files import read_csv


def read_validations(files: Sequence[Path], stops_early: bool) -> list[list[dict[str, str]]]:
    """The rows of each seed's curve (.csv), of all seeds as many.

    A phase with early stopping ends when its own validation scores say so, in each seed at another epoch: what the
    others have beyond the shortest curve is left out. Raises UserError for what is no curve of CIDEr-D, for validations
    at other epochs, and for other numbers of them where the phase does not stop early.
    """
    seeds = [read_csv(path) for path in files]
    shortest = min(map(len, seeds))
    for path, rows in zip(files, seeds, strict=True):
        if not rows:
            raise UserError(f"{path}: an empty validation curve; train it again")
        if "val_cider" not in rows[0]:
            raise UserError(f"{path}: not a captioner's validation curve (no val_cider); train it again")
        epochs, first = ([row.get("epoch") for row in each[:shortest]] for each in (rows, seeds[0]))
        if epochs != first or (len(rows) != len(seeds[0]) and not stops_early):
            raise UserError(f"{path}: validated at other epochs than {files[0]}; train both again")
    return [rows[:shortest] for rows in seeds]
