"""Every table and figure of the paper: one module each, with its configuration per scale and a verdict per claim.

`artifact` says what such a module holds and `registry` lists them. It calls commands and reads their run directories;
training, simulation and certification are theirs. `plan` says which calls are needed and in which order, `workspace`
and `store` find what is finished, `execute` carries out the rest.
"""
