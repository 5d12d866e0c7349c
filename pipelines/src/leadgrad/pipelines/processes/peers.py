"""Connections between a run's processes, which tell a process that has ended from a slow one.

Every process holds a connection to the first one. The kernel closes it when a process ends, however
it ends, and keeps it open while the process lives, however slow it is: no time limit is needed.
"""

from __future__ import annotations

import json
import secrets
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

Exchange = Callable[[Any], Any]
"""Hands an object of the first process to every one, as a broadcast does."""
_CONNECT_S = 1800  # as long as the rendezvous of torch.distributed, which has just succeeded


class Peers:
    """The other processes of a run: who has come to the end, who was stopped, who is gone.

    Args:
        rank: Of this process.
        world: Number of processes.
        lost: Called in a thread with the rank of a process that ended before its work was done, and
            with how it ended, or None where nobody knows.
    """

    def __init__(self, rank: int, world: int, lost: Callable[[int, str | None], None]) -> None:
        self.rank = rank
        self.world = world
        self.batches: dict[int, int] = dict.fromkeys(range(world), 0)
        self._lost = lost
        self._connections: dict[int, socket.socket] = {}
        self._rounds: dict[int, int] = dict.fromkeys(range(world), 0)
        self._done: set[int] = set()
        self._stopped: set[int] = set()
        self._leaving = False
        self._news = threading.Condition()
        self._sending = threading.Lock()

    def connect(self, address: str, exchange: Exchange) -> None:
        """Connects every process to the first one; all must call it together.

        Args:
            address: Where the first process can be reached.
            exchange: Hands an object of the first process to all.
        """
        if self.rank == 0:
            with socket.create_server(("", 0), backlog=self.world) as server:
                server.settimeout(_CONNECT_S)
                token = secrets.token_hex()
                exchange((server.getsockname()[1], token))
                while len(self._connections) < self.world - 1:
                    self._accept(server.accept()[0], token)
        else:
            port, token = exchange(None)
            connection = socket.create_connection((address, port), timeout=_CONNECT_S)
            _send(connection, {"rank": self.rank, "token": token})
            self._connections[0] = connection
        for rank, connection in self._connections.items():
            connection.settimeout(None)
            _keep_alive(connection)
            threading.Thread(target=self._listen, args=(rank, connection), daemon=True).start()

    def finished(self, batches: int) -> None:
        """Tells how many batches this process has finished."""
        self._tell({"batches": batches})

    def awaited(self) -> dict[int, int]:
        """Finished batches, by rank, of the processes that ``meet`` waits for."""
        with self._news:
            return {rank: self.batches[rank] for rank in sorted(self._missing())}

    def meet(self, *, last: bool = True) -> int | None:
        """Returns once every process has come here, or one was stopped: that one's rank.

        Args:
            last: Whether the work is done then, so that nobody is missed any more.
        """
        self._rounds[self.rank] += 1
        here = {"arrived": self._rounds[self.rank], "last": last}
        if self.rank > 0:
            self._tell(here)
        with self._news:
            # The first process comes last: when it has heard of all the others
            self._news.wait_for(lambda: self._stopped or not self._missing())
        if (stopped := self.stopped()) is not None:
            return stopped
        if self.rank == 0:
            self._tell(here)
        if last:
            self.leave()
        return None

    def stopped(self) -> int | None:
        """The first rank that was stopped."""
        with self._news:
            return min(self._stopped, default=None)

    def misses(self, rank: int) -> bool:
        """Whether another process's end would be a loss: it is neither done nor stopped."""
        with self._news:
            return not self._leaving and rank not in self._done | self._stopped

    def stop(self) -> None:
        """Leaves before the end by this process's own decision, so that nobody misses it."""
        self._tell({"stopped": self.rank})
        self.leave()

    def bury(self, rank: int, how: str | None) -> None:
        """Leaves, and tells all that this rank is gone."""
        self.leave()  # first: who is told tells others, and this process would end by its own news
        self._tell({"gone": rank, "how": how})

    def leave(self) -> None:
        """Listens no more."""
        with self._news:
            self._leaving = True

    def _missing(self) -> set[int]:
        others = {0} if self.rank else set(range(1, self.world))
        return {rank for rank in others if self._rounds[rank] < self._rounds[self.rank]}

    def _accept(self, connection: socket.socket, token: str) -> None:
        """Takes a connection whose first line is right; a port scanner's is not."""
        with suppress(OSError, ValueError, LookupError, TypeError):
            connection.settimeout(_CONNECT_S)
            line = b""
            while not line.endswith(b"\n") and len(line) < 1000 and (part := connection.recv(1)):
                line += part
            hello = json.loads(line)
            if secrets.compare_digest(hello["token"], token):
                self._connections[int(hello["rank"])] = connection
                return
        connection.close()

    def _listen(self, rank: int, connection: socket.socket) -> None:
        with suppress(OSError), connection.makefile("r", encoding="ascii") as lines:
            for line in lines:
                self._hear(rank, json.loads(line))
        if self.misses(rank):
            self._lost(rank, None)

    def _hear(self, rank: int, message: dict[str, Any]) -> None:
        with self._news:
            if "batches" in message:
                self.batches[rank] = message["batches"]
            elif "arrived" in message:
                self._rounds[rank] = message["arrived"]
                if message["last"]:
                    self._done.add(rank)
            elif "stopped" in message:
                self._stopped.add(rank)
            self._news.notify_all()
            gone = "gone" in message and not self._leaving
        if gone:
            self._lost(message["gone"], message["how"])

    def _tell(self, message: dict[str, Any]) -> None:
        for connection in self._connections.values():
            with suppress(OSError), self._sending:  # who has ended needs no news
                _send(connection, message)


def _send(connection: socket.socket, message: dict[str, Any]) -> None:
    connection.sendall(json.dumps(message).encode("ascii") + b"\n")


def _keep_alive(connection: socket.socket) -> None:
    """Lets the kernel notice within minutes that another machine is gone, with all on it."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 20), ("TCP_KEEPCNT", 6)):
        if hasattr(socket, name):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
