"""Train in Lightning, then open the result in JAX. Needs `pip install lightning`.

python examples/lightning_unet/lightning_unet.py run
"""

import sys
from pathlib import Path

import lightning
import numpy as np
import torch

from unet_data import Normalization, Sampler, confusion, iou, membranes, split
from unet_spec import DataSpec
from unet_torch import UNet, losses, preset


class Segmentation(lightning.LightningModule):
    """A U-Net, cross entropy and Dice for a loss, and the mean IoU from one confusion matrix an epoch."""

    def __init__(self, network: UNet, rate: float = 1e-2):
        super().__init__()
        self.network, self.rate = network, rate
        self.matrix = np.zeros((network.config.classes, network.config.classes), np.int64)

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        image, labels = batch
        logits = self.network(image)
        loss = losses.cross_entropy(logits, labels) + losses.dice_loss(logits, labels)
        self.log("loss", loss)
        return loss

    def on_validation_epoch_start(self) -> None:
        self.matrix[:] = 0

    def validation_step(self, batch: tuple[torch.Tensor, torch.Tensor]) -> None:
        image, labels = batch
        guess = self.network(image).argmax(1)
        self.matrix += confusion(guess.cpu().numpy(), labels.cpu().numpy(), len(self.matrix))

    def on_validation_epoch_end(self) -> None:
        self.log("iou", iou(self.matrix).mean)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), self.rate)


class Tiles(torch.utils.data.Dataset):
    """Tiles of a data set, the same for the same number."""

    def __init__(self, dataset, network: UNet, count: int, seed: int):
        tile = tuple(grid.above(64) for grid in network.config.geometry.grids)
        self.sampler = Sampler(dataset, tile, network.config.geometry.output_shape(tile), batch=1, seed=seed)
        self.normal, self.count = Normalization(network.data.mean, network.data.std), count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int) -> tuple[torch.Tensor, torch.Tensor]:
        images, labels = self.sampler.batch(number)
        image = np.moveaxis(self.normal.apply(images)[0], -1, 0)
        return torch.from_numpy(image.copy()), torch.from_numpy(labels[0].astype(np.int64))


def run(out: Path, steps: int = 100) -> tuple[float, float]:
    """Trains on synthetic membranes; returns the IoU before and after, and leaves a checkpoint in `out`/best."""
    training, validation = split(membranes(6, 96, 0))
    network = UNet(preset("same", widths=(8, 16)), seed=0)
    normal = Normalization.from_dataset(training)
    network.data = DataSpec(normal.mean, normal.std, training.class_names)
    loaders = [
        torch.utils.data.DataLoader(Tiles(data, network, count, seed=0), batch_size=2)
        for data, count in ((training, 2 * steps), (validation, 8))
    ]
    trainer = lightning.Trainer(
        max_steps=steps,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    module = Segmentation(network)
    before = trainer.validate(module, loaders[1], verbose=False)[0]["iou"]
    trainer.fit(module, loaders[0])
    after = trainer.validate(module, loaders[1], verbose=False)[0]["iou"]
    network.eval().save_pretrained(out / "best")
    return before, after


if __name__ == "__main__":
    before, after = run(Path(sys.argv[1]))
    print(f"IoU {before:.3f} before, {after:.3f} after; unet_jax.from_pretrained({str(Path(sys.argv[1]) / 'best')!r})")
