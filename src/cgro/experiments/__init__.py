"""Every table and figure of the paper: one file each, with its configuration per scale and a verdict per claim.

An artifact is a module with `NAME`, `TITLE`, `PAPER` (the paper's values), `CAPTIONS`, `jobs(scale)`, `run(scale, home)`
-> findings, `check(findings, paper)` -> claims, `tables(findings)` and `draw(findings, folder, home)`. It calls commands and
reads their run directories; training, simulation and certification are theirs.
"""
