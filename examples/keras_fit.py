"""The same with `fit` of Keras 3 on its torch backend: one callback.

python examples/keras_fit.py runs/keras
"""

import os
import sys

os.environ["KERAS_BACKEND"] = "torch"
import keras

from cgro import Monitor
from cgro.data import load
from cgro.definitions import ThreatModel
from cgro.integrations.keras import MonitorCallback


def main(out: str = "runs/keras", epochs: int = 12) -> str:
    keras.utils.set_random_seed(0)
    digits = load("digits", n_train=300, n_test=200)
    train, test = ((part.x.movedim(1, 3).numpy(), part.y.numpy()) for part in (digits.train, digits.test))
    layers = [keras.layers.Flatten(), keras.layers.Dense(128), keras.layers.BatchNormalization()]
    layers += [keras.layers.ReLU(), keras.layers.Dropout(0.2), keras.layers.Dense(10)]
    model = keras.Sequential([keras.Input((8, 8, 1)), *layers])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.2), loss)
    watch = MonitorCallback(Monitor(train=train, test=test, threat=ThreatModel("inf", 0.1), out=out))
    model.fit(*train, batch_size=50, epochs=epochs, callbacks=[watch], verbose=0)
    return watch.diagnosis.label


if __name__ == "__main__":
    main(*sys.argv[1:])
