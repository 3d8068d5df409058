"""Fine-tuning of tier 1: a loop that can be stopped and taken up again."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from alise_core.errors import ConfigError
from alise_core.prediction import LEVELS
from alise_predictor.train.batches import Batch, BatchPlan, TrainingSet, assemble, draw_epoch
from alise_predictor.train.losses import list_mle, margin_rank, pinball
from alise_predictor.train.network import LengthNetwork

_CHECKPOINT_EVERY = 200


@dataclass(frozen=True, slots=True)
class FitSettings:
    """Constants of the fine-tuning.

    Attributes:
        epochs: Passes over the (balanced) training set.
        encoder_rate: Peak learning rate of the pre-trained layers.
        head_rate: Peak learning rate of the head.
        frozen_layers: Layers, from the input side, that keep their pre-trained weights; the
            embeddings do so too unless this is negative.
        pinball_weight: Weight of the distributional loss.
        list_weight: Weight of ListMLE.
        margin_weight: Weight of the pairwise hinge.
        average: Decay of the running mean of the weights, which is what is kept.
        bfloat16: Run matrix products in bfloat16 (twice as fast on CPUs that have it).
    """

    epochs: int = 3
    encoder_rate: float = 8e-5
    head_rate: float = 1e-3
    warmup: float = 0.1
    weight_decay: float = 0.01
    frozen_layers: int = 2
    pinball_weight: float = 1.0
    list_weight: float = 0.05
    margin_weight: float = 0.0
    average: float = 0.995
    bfloat16: bool = True
    seed: int = 7
    plan: BatchPlan = field(default_factory=BatchPlan)


@dataclass(frozen=True, slots=True)
class FitProgress:
    """Where the fit is."""

    step: int
    steps: int
    loss: float


def fit(
    network: LengthNetwork,
    data: TrainingSet,
    settings: FitSettings,
    checkpoint: Path | None,
    on_step: Callable[[FitProgress], None],
) -> None:
    """Fine-tune in place; ends with the averaged weights in ``network``.

    Args:
        network: Freshly built; a checkpoint's state replaces its weights.
        data: What to learn from.
        settings: Constants; a checkpoint made with others is not continued.
        checkpoint: Written every few hundred steps and continued from; ``None`` keeps none.
        on_step: Told after every step.

    Raises:
        ConfigError: There is not one batch.
    """
    torch.manual_seed(settings.seed)
    epochs = [
        draw_epoch(data, settings.plan, settings.seed, epoch) for epoch in range(settings.epochs)
    ]
    batches = [batch for epoch in epochs for batch in epoch]
    if not batches:
        plan = settings.plan
        raise ConfigError(
            f"{len(data)} prompts make no batch of {plan.lists} lists of {plan.items} prompts of "
            "one data set: add data, or train with --no-tier1"
        )
    run = _Run(network, settings, len(batches))
    start = run.resume(checkpoint) if checkpoint is not None else 0
    network.train()
    for step in range(start, len(batches)):
        batch = assemble(data, settings.plan, batches[step], settings.seed + step)
        on_step(FitProgress(step + 1, len(batches), run.step(batch)))
        if checkpoint is not None and (step + 1) % _CHECKPOINT_EVERY == 0:
            run.save(checkpoint, step + 1)
    run.finish()
    network.eval()


class _Run:
    def __init__(self, network: LengthNetwork, settings: FitSettings, steps: int) -> None:
        self._network = network
        self._settings = settings
        self._levels = torch.tensor(LEVELS)
        _freeze(network, settings.frozen_layers)
        encoder = [p for p in network.encoder.parameters() if p.requires_grad]
        head = [*network.hidden.parameters(), *network.out.parameters()]
        self._trained = encoder + head
        groups = [
            {"params": encoder, "lr": settings.encoder_rate},
            {"params": head, "lr": settings.head_rate},
        ]
        self._optimizer = torch.optim.AdamW(groups, weight_decay=settings.weight_decay, fused=True)
        self._schedule = torch.optim.lr_scheduler.OneCycleLR(
            self._optimizer,
            max_lr=[settings.encoder_rate, settings.head_rate],
            total_steps=_scheduled(steps, settings.warmup),
            pct_start=settings.warmup,
        )
        self._mean = [parameter.detach().clone() for parameter in self._trained]
        self._seen = 0

    def step(self, batch: Batch) -> float:
        settings = self._settings
        with torch.autocast("cpu", torch.bfloat16, enabled=settings.bfloat16):
            quantiles, _ = self._network(
                torch.from_numpy(batch.input_ids),
                torch.from_numpy(batch.attention_mask),
                torch.from_numpy(batch.scalars),
            )
        loss = self._loss(quantiles.float(), batch)
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self._trained, 1.0)
        self._optimizer.step()
        self._schedule.step()
        self._average()
        return float(loss.detach())

    def finish(self) -> None:
        with torch.no_grad():
            for parameter, mean in zip(self._trained, self._mean, strict=True):
                parameter.copy_(mean)

    def save(self, file: Path, step: int) -> None:
        state = {
            "settings": asdict(self._settings),
            "step": step,
            "seen": self._seen,
            "network": self._network.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "schedule": self._schedule.state_dict(),
            "mean": self._mean,
            "random": torch.get_rng_state(),
        }
        partial = file.with_suffix(".partial")
        torch.save(state, partial)
        partial.replace(file)

    def resume(self, file: Path) -> int:
        if not file.exists():
            return 0
        state = torch.load(file, weights_only=True)
        if state["settings"] != asdict(self._settings):
            return 0
        self._network.load_state_dict(state["network"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._schedule.load_state_dict(state["schedule"])
        self._mean, self._seen = state["mean"], state["seen"]
        torch.set_rng_state(state["random"])
        return int(state["step"])

    def _loss(self, quantiles: Tensor, batch: Batch) -> Tensor:
        settings = self._settings
        targets = torch.from_numpy(batch.targets)
        shape = (-1, settings.plan.items)
        scores = quantiles[:, quantiles.shape[1] // 2].view(shape)
        level = torch.from_numpy(batch.level).view(shape)
        loss = settings.pinball_weight * pinball(quantiles, targets, self._levels)
        if settings.list_weight:
            # Scores are log lengths: sharpened so that a factor of e is a clear preference.
            loss = loss + settings.list_weight * list_mle(4.0 * scores, level)
        if settings.margin_weight:
            loss = loss + settings.margin_weight * margin_rank(scores, level, 0.3, 0.25)
        return loss

    def _average(self) -> None:
        self._seen += 1
        # The mean of the first steps is young: a decay that grows with it forgets the start.
        decay = min(self._settings.average, self._seen / (self._seen + 10.0))
        with torch.no_grad():
            for mean, parameter in zip(self._mean, self._trained, strict=True):
                mean.lerp_(parameter, 1.0 - decay)


def _scheduled(steps: int, warmup: float) -> int:
    """Steps that the schedule is made for; it divides by its warm-up's length less one step."""
    scheduled = max(steps, 2)
    return scheduled + 1 if warmup * scheduled == 1.0 else scheduled


def _freeze(network: LengthNetwork, layers: int) -> None:
    if layers < 0:
        return
    encoder = network.encoder
    frozen: list[nn.Module] = [encoder.words, encoder.positions, encoder.norm]
    frozen += list(encoder.layers)[:layers]
    encoder.segment.requires_grad_(requires_grad=False)
    for module in frozen:
        module.requires_grad_(requires_grad=False)
