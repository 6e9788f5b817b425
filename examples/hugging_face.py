"""The same with the Trainer of Hugging Face and a small ViT: one callback. Needs `pip install 'cgro[integrations]'`.

python examples/hugging_face.py runs/vit
"""

import sys

import torch
from torch.utils.data import Dataset
from transformers import Trainer, TrainingArguments, ViTConfig, ViTForImageClassification

from cgro import Monitor
from cgro.data import Split, load
from cgro.definitions import ThreatModel
from cgro.integrations.transformers import MonitorCallback

MEAN, STD = (0.5,), (0.5,)


class Normalized(Dataset):
    """What an image processor makes of the images; the monitor undoes it, as its radius is measured in [0, 1]."""

    def __init__(self, split: Split) -> None:
        self.split = split

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, i: int) -> dict[str, torch.Tensor]:
        return {"pixel_values": (self.split.x[i] - MEAN[0]) / STD[0], "labels": self.split.y[i]}


def main(out: str = "runs/vit", epochs: int = 12) -> str:
    digits = load("digits", n_train=300, n_test=200)
    train, test = Normalized(digits.train), Normalized(digits.test)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    torch.manual_seed(0)
    model = ViTForImageClassification(ViTConfig(image_size=8, patch_size=4, num_channels=1, num_labels=10, **sizes))
    monitor = Monitor(train=train, test=test, threat=ThreatModel("inf", 0.1), out=out, normalize=(MEAN, STD))
    watch = MonitorCallback(monitor)
    options = {"report_to": [], "save_strategy": "no", "disable_tqdm": True, "use_cpu": True, "logging_strategy": "no"}
    arguments = TrainingArguments(
        out + "-trainer", num_train_epochs=epochs, per_device_train_batch_size=50, learning_rate=3e-3, **options
    )
    Trainer(model=model, args=arguments, train_dataset=train, callbacks=[watch]).train()
    return watch.diagnosis.label


if __name__ == "__main__":
    main(*sys.argv[1:])
