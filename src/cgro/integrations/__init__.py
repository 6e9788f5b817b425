"""`cgro.Monitor` inside the trainers of others, one thin file each: lightning, transformers, keras.

The packages are not needed to import these files; each is needed by whoever uses its trainer.
"""
