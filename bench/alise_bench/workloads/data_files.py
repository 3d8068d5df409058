"""Files of a data directory, plain or compressed with zstandard.

The reader of zstandard is no dependency of the workbench: it is imported when a file needs it.
"""

import importlib
from pathlib import Path

from alise_core.errors import ConfigError

PACKAGES = "pip install pyarrow tiktoken zstandard"
"""What reading a data directory needs beyond the workbench."""


def read_file(data_dir: Path | None, folder: str, name: str) -> tuple[Path, bytes]:
    """Path and content of a file, which may be there as ``NAME.zst``.

    Args:
        data_dir: The data directory; ``None`` where none was named.
        folder: Folder in it.
        name: The file's name without ``.zst``.

    Raises:
        ConfigError: There is no data directory or no such file, or it cannot be read.
    """
    if data_dir is None:
        raise ConfigError(f"{folder}/{name} is needed; name the data directory that holds it")
    path = data_dir / folder / name
    packed = path.with_name(f"{name}.zst")
    try:
        if path.is_file():
            return path, path.read_bytes()
        if packed.is_file():
            return packed, _decompress(packed)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); check it") from error
    raise ConfigError(f"{path}: not found, nor with .zst; put the data set there")


def _decompress(path: Path) -> bytes:
    try:
        zstandard = importlib.import_module("zstandard")
    except ModuleNotFoundError as error:
        raise ConfigError(f"{path}: reading it needs zstandard; {PACKAGES}") from error
    frame = zstandard.ZstdDecompressor().decompressobj()
    try:
        content: bytes = frame.decompress(path.read_bytes())
    except zstandard.ZstdError as error:
        raise ConfigError(f"{path}: damaged ({error}); fetch the file again") from error
    if not frame.eof:
        raise ConfigError(f"{path}: ends early; fetch the file again")
    return content
