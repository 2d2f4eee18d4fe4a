"""Where the workflow's files are: Snakefile, rules, papers, profiles.

In a checkout they are links to those at its root, in an installed package the files themselves.
"""

from pathlib import Path

PIPELINE = Path(__file__).parent
