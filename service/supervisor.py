"""Keeps several workers running."""

import logging
import os
import signal
import socket

import uvicorn
from uvicorn.supervisors import Multiprocess

from service.worker_process import Terminal

_LOGGER = logging.getLogger(__name__)


class Workers(Multiprocess):
    """Uvicorn's supervisor, which hears of a worker's death at once.

    It awaits the answer to a ping on a pipe of which it holds the worker's end open too. So a
    worker that dies after being asked is waited for until the time-out, and signals with it.
    """

    def __init__(self, config: uvicorn.Config, sockets: list[socket.socket]) -> None:
        super().__init__(config, sockets)
        self._terminal = Terminal()

    def init_processes(self) -> None:
        """Start them."""
        super().init_processes()
        self._leave_worker_ends()

    def keep_subprocess_alive(self) -> None:
        """Replace those that have died."""
        super().keep_subprocess_alive()
        self._leave_worker_ends()

    def handle_hup(self) -> None:
        """Have one worker make a release, which all then serve; none is restarted."""
        if self._terminal.has_gone():
            self.handle_term()
            return
        for process in self.processes:
            # One that is starting does not hear it yet.
            if process.pid is not None and process.is_ready(timeout=1):
                os.kill(process.pid, signal.SIGHUP)
                return
        _LOGGER.error("no release: no worker is ready; try again")

    def _leave_worker_ends(self) -> None:
        for process in self.processes:
            process.child_conn.close()
