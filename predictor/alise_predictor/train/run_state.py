"""What a training leaves behind on disk, so that it can be taken up again and exported."""

import hashlib
import pickle
from dataclasses import dataclass
from pathlib import Path

import torch

from alise_core.errors import ConfigError
from alise_core.prediction import LEVELS
from alise_predictor.artifact import Description
from alise_predictor.features import BUCKETS, SCALARS
from alise_predictor.train.encoder import Encoder, read_shape
from alise_predictor.train.linear import LinearModel
from alise_predictor.train.network import LengthNetwork, LengthRange
from alise_predictor.train.tier0 import QuantileHead, Tier0Model

_TIER0, _TIER1, _FACTS = "tier0.pt", "tier1.pt", "description.json"
_CHECKPOINT, _FINGERPRINT = "tier1.checkpoint", "fingerprint"
_PARTIAL = ".partial"


@dataclass(frozen=True, slots=True)
class RunDirectory:
    """Files of one training.

    Attributes:
        path: The directory; made when something is written.
    """

    path: Path

    @property
    def checkpoint(self) -> Path:
        """Where an interrupted fine-tuning goes on."""
        return self.path / _CHECKPOINT

    @property
    def tier1(self) -> Path:
        """State of the fine-tuned network."""
        return self.path / _TIER1

    def claim(self, fingerprint: str) -> bool:
        """Keep what is here if it belongs to this training, else forget it.

        Args:
            fingerprint: Of everything that decides what is learned.

        Returns: Whether there is something to go on from.
        """
        digest = hashlib.sha256(fingerprint.encode()).hexdigest()
        self.path.mkdir(parents=True, exist_ok=True)
        mark = self.path / _FINGERPRINT
        if mark.exists() and mark.read_text(encoding="ascii") == digest:
            return self.checkpoint.exists() or self.tier1.exists()
        for name in (_TIER0, _TIER1, _FACTS, _CHECKPOINT):
            (self.path / name).unlink(missing_ok=True)
        mark.write_text(digest, encoding="ascii")
        return False

    def save_tier0(self, model: Tier0Model) -> None:
        """Keep a trained tier 0."""
        state = {
            "table": torch.from_numpy(model.linear.table),
            "weights": torch.from_numpy(model.linear.weights),
            "bias": model.linear.bias,
            "head": model.head.state_dict(),
        }
        self._save(_TIER0, state)

    def load_tier0(self, span: LengthRange) -> Tier0Model:
        """The tier 0 of this training.

        Raises:
            ConfigError: There is none, it cannot be read, or it is of other features.
        """
        state = self._load(_TIER0)
        if state["table"].shape != (BUCKETS,) or state["weights"].shape != (len(SCALARS),):
            raise ConfigError(f"{self.path / _TIER0} was trained on other features: train again")
        linear = LinearModel(state["table"].numpy(), state["weights"].numpy(), float(state["bias"]))
        head = QuantileHead(span)
        head.load_state_dict(state["head"])
        return Tier0Model(linear, head.eval())

    def save_tier1(self, network: LengthNetwork) -> None:
        """Keep a fine-tuned network; the checkpoint is then of no more use."""
        self._save(_TIER1, network.state_dict())
        self.checkpoint.unlink(missing_ok=True)

    def load_tier1(self, weights: Path, span: LengthRange) -> LengthNetwork:
        """The network of this training.

        Args:
            weights: Directory of the pre-trained encoder, for its sizes.
            span: Range of the training lengths.

        Raises:
            ConfigError: There is none, or it cannot be read.
        """
        network = LengthNetwork(Encoder(read_shape(weights)), len(SCALARS), len(LEVELS), span, 0.0)
        network.load_state_dict(self._load(_TIER1))
        return network.eval()

    def save_description(self, description: Description) -> None:
        """Keep what the bundle is going to say about itself."""
        (self.path / _FACTS).write_text(
            description.model_dump_json(indent=2) + "\n", encoding="utf-8"
        )

    def load_description(self) -> Description:
        """What was kept.

        Raises:
            ConfigError: The training did not come that far.
        """
        file = self.path / _FACTS
        if not file.exists():
            raise ConfigError(
                f"{self.path} holds no finished training: run 'alise predictor train' first"
            )
        return Description.model_validate_json(file.read_bytes())

    def _save(self, name: str, state: object) -> None:
        # Written aside: half a file would be taken for a finished training.
        partial = self.path / (name + _PARTIAL)
        torch.save(state, partial)
        partial.replace(self.path / name)

    def _load(self, name: str) -> dict[str, torch.Tensor]:
        file = self.path / name
        if not file.exists():
            raise ConfigError(f"{file} is missing: run 'alise predictor train' first")
        try:
            state: dict[str, torch.Tensor] = torch.load(file, weights_only=True)
        except (pickle.UnpicklingError, RuntimeError, EOFError, OSError) as error:
            raise ConfigError(f"{file} cannot be read: remove it and train again") from error
        return state
