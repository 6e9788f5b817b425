"""The same with Lightning's Trainer: one callback. Needs `pip install 'cgro[lightning]'`.

python examples/lightning_callback.py runs/lightning
"""

import sys

import lightning
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from cgro import Monitor
from cgro.data import load
from cgro.definitions import PGD, ThreatModel
from cgro.integrations.lightning import MonitorCallback

THREAT = ThreatModel("inf", 0.1)


class Module(lightning.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.BatchNorm1d(128), nn.ReLU(), nn.Linear(128, 10))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(x)

    def training_step(self, batch: list[torch.Tensor], batch_idx: int) -> torch.Tensor:
        x, y = batch
        return F.cross_entropy(self(PGD(THREAT, n_steps=5)(self.net, x, y)), y)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.2, momentum=0.9)


def main(out: str = "runs/lightning", epochs: int = 12) -> str:
    lightning.seed_everything(0, verbose=False)
    digits = load("digits", n_train=300, n_test=200)
    loader = DataLoader(TensorDataset(digits.train.x, digits.train.y), batch_size=50, shuffle=True)
    watch = MonitorCallback(Monitor(train=loader, test=(digits.test.x, digits.test.y), threat=THREAT, out=out))
    options = {"accelerator": "cpu", "logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = lightning.Trainer(max_epochs=epochs, callbacks=[watch], enable_model_summary=False, **options)
    trainer.fit(Module(), loader)
    return watch.diagnosis.label


if __name__ == "__main__":
    main(*sys.argv[1:])
