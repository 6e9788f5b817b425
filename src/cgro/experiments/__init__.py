"""Every table and figure of the paper: one module each, with its configuration per scale and a verdict per claim.

`artifact` says what such a module holds and `registry` lists them. It plans calls of commands and reads their run
directories; training, simulation and certification are theirs, and making the calls is that of `cgro.jobs`.
"""
