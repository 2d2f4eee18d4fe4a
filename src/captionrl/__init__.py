"""captionrl: captioning methods trained with reinforcement learning, as one reproducible pipeline."""

__version__ = "0.1.0"
