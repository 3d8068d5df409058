"""All candidates on all data in one command: who ranks, who is honest, and at what cost.

``run`` is ``alise predictor evaluate --all``.
"""

from alise_predictor.train.compare.options import Options

__all__ = ["Options", "run"]


def run(options: Options) -> int:
    """Compare, print and write; the exit code.

    Args:
        options: What is wanted.

    Raises:
        AliseError: A data set is malformed, a flag is wrong, or prompts leak between splits.
    """
    # Imported here because results are read and rendered without torch.
    from alise_predictor.train.compare.runner import run_all  # noqa: PLC0415

    return run_all(options)
