"""Where the workbench keeps what it installs: the only module of it that reads the environment."""

from pathlib import Path

from pydantic_settings import BaseSettings, SettingsConfigDict


class BenchSettings(BaseSettings):
    """The environment variables that the workbench obeys."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore")

    xdg_cache_home: Path = Path.home() / ".cache"
    """``XDG_CACHE_HOME``. Source: XDG Base Directory Specification."""

    @property
    def peers_folder(self) -> Path:
        """The virtual environment that the peers are installed into."""
        return self.xdg_cache_home / "alise" / "peers"
