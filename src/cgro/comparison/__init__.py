"""What helps? Remedies trained side by side at equal compute: `cgro compare`.

`plan_file` reads a plan, `trials` makes trainings of it, `outcomes` reads their numbers, `effects` puts each remedy's
effect in words, `compare` is the command; `what_now` writes the page of advice from stored comparisons.
"""
