"""What can go wrong once a predictor is open."""

from alise_core.errors import AliseError


class PredictorError(AliseError):
    """One prediction failed; the caller falls back and counts, the request goes on.

    The message never holds anything of the request.
    """
