"""How one printed line becomes named numbers. Pure functions.

lines          `parse_line`, the front door: a line -> its epoch, and (name, number) in order
epochs         which epoch a line is of, and whether it says that it is over
notes, pairs   before: several values of one name, several names before several values, each behind a name of its own
numerals       which numbers are values, and which belong to a name, as the 20 of `PGD-20`
printed_names  what a name leaves out, taken from what the line says before it
"""
