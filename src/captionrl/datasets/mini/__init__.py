"""The mini world: a small rendered world whose pictures and captions come in the real data sets' own formats.

`world` says what can be there and how it moves, `stills` how several things stand together, `draw` makes pictures of
both; `grammar` and `talk` are the language for them; `write` puts pictures and words into the files of MSR-VTT,
Charades, COCO and TGIF. Nothing outside this package knows that it exists.
"""
