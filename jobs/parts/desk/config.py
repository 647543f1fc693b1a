"""The options of jobs/desk.py."""

import ipaddress
import os
from dataclasses import dataclass

from datasets.errors import BadUsageError
from jobs.parts.runtime.options import option, require

TOKEN = "MANGAHUE_DESK_TOKEN"  # a variable, not an option: the log and the list of processes show options
_LEAST_TOKEN = 16  # letters


@dataclass(frozen=True, kw_only=True)
class DeskConfig:
    """Look at what colorize.py has published, in this machine's browser: before and after; hints, cast, palette and
    references by pointer.
    """

    out: str = option("Folder that colorize.py published to.", group="Output", metavar="URI")
    static: str = option("Write the page with its pictures into this new folder instead, for who has no Python at "
                         "hand: hints, cast and palette are downloaded as files there.", group="Output", default="",
                         metavar="URI")  # fmt: skip
    port: int = option("Port to listen on; 0: any that is free.", group="Server", default=8787)
    host: str = option(f"Address to listen on. Another than this machine's own needs a token of at least "
                       f"{_LEAST_TOKEN} letters in the environment variable {TOKEN}.", group="Server",
                       default="127.0.0.1", metavar="ADDRESS")  # fmt: skip
    open_browser: bool = option("Open the page in the browser.", group="Server", default=False, flag="open")

    def __post_init__(self) -> None:
        require(0 <= self.port <= 65535, "port", self.port, "give 0 to 65535")
        if not self.is_loopback and len(self.token) < _LEAST_TOKEN:
            raise BadUsageError(
                f"--host {self.host}: other machines could ask it; set {TOKEN} to a secret of at least {_LEAST_TOKEN} "
                "letters, or leave --host out and come through SSH (ssh -L 8787:127.0.0.1:8787)"
            )

    @property
    def is_loopback(self) -> bool:
        """Whether this machine alone is answered."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def token(self) -> str:
        """The secret that visitors from other machines must know; "" for none."""
        return os.environ.get(TOKEN, "")
