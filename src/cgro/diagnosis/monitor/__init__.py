"""A monitor for any training loop: the four errors after every epoch, in a run directory.

loop          `Monitor`, the front door
settings      what is measured, how often, and what is kept
parts         the examples: a fixed sample of each part, as images in [0, 1]
surroundings  the network without its wrappers, and all that surrounds it left as it was
ranks         one evaluation by several processes
measure       the counts of wrong examples
onset         robust overfitting while it sets in
journal       the run directory
"""

from cgro.diagnosis.monitor.loop import Monitor

__all__ = ["Monitor"]
