from captionrl.evaluation.score_files import score as score

__version__: str
