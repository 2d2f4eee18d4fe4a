"""The mini world: a small rendered world whose clips and captions come in the real data sets' own formats.

`world` says what can be there and how it moves, `draw` makes pictures of it, `grammar` talks about it, `write` puts
both into the files of MSR-VTT and Charades. Nothing outside this package knows that it exists.
"""
