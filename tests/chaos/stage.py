"""The commands at work in a folder."""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from chaos.commands import INSECURE, MASTER, RUN, SLAVE, Actor, command_line
from chaos.exceptions import Broken
from chaos.site import Site
from support.processes import command_of, free_port, processes_in


class Stage(Site):
    """Starts commands; `masters` counts those that began an epoch."""

    def __init__(self, folder: Path, chance: random.Random) -> None:
        super().__init__(folder, chance)
        self.actors: list[Actor] = []
        self.masters = 0
        self.address = f"ipc://{self.folder}/socket"
        self.insecure = False  # whether tcp is used without keys, so that a proxy understands what passes
        self.shim: dict[str, Any] = {}
        self._number = itertools.count(1)

    def on_tcp(self) -> int:
        """Master and slaves meet at a TCP port of this machine; returns it."""
        port = free_port()
        self.address = f"tcp://127.0.0.1:{port}"
        return port

    def start(self, command: str, *arguments: object, shim: Mapping[str, Any] | None = None, limits: str = "",
              home: Path | None = None, prefix: Sequence[str] = ()) -> Actor:
        """Start tm-`command`; `limits` are commands for the shell's ulimit, `home` is where it finds its key.

        `prefix` is a command that becomes this one, such as env or strace -D.
        """
        on_tcp = any(str(argument).startswith("tcp://") for argument in arguments)
        argv = [*prefix, *command_line(command, *arguments, *(INSECURE if self.insecure and on_tcp else ()))]
        actor = Actor(command, argv, self.folder, next(self._number), {**self.shim, **(shim or {})}, limits, home)
        self.actors.append(actor)
        return actor

    def run(self, slaves: int = 2, *options: object, **how: Any) -> Actor:
        """tm-run; later options win."""
        self.masters += 1
        return self.start("run", self.target, slaves, *RUN, *options, **how)

    def master(self, *options: object, listens: bool = True, **how: Any) -> Actor:
        """tm-master; returns when it listens, unless told not to wait. Raises Broken if it does not come up."""
        self.masters += 1
        one = self.start("master", self.target, *MASTER, "--address", self.address, *options, **how)
        if listens:
            self.until(lambda: self.listens(one) or not one.running, "the master listens")
            if not one.running:
                raise Broken(f"the master did not come up: {one.said[-300:]}")
        return one

    @staticmethod
    def listens(master: Actor) -> bool:
        return "Listening at" in master.said

    def slave(self, *options: object, address: str = "", **how: Any) -> Actor:
        return self.start("slave", self.target, *SLAVE, "--address", address or self.address, "--no-progress",
                          *options, **how)

    def spawn(self, slaves: int = 2, *options: object, address: str = "", **how: Any) -> Actor:
        one = self.start("spawn", self.target, slaves, *SLAVE, "--address", address or self.address, *options, **how)
        one.slaves = slaves
        return one

    # -- looking and waiting

    def slaves(self) -> list[int]:
        """The pids of all slave processes here."""
        named = re.compile(r"tm-slave |taskmaster\.cli\.slave |cli/start_slave\.py ")
        return [pid for pid in processes_in(self.folder) if named.search(command_of(pid))]

    def working(self, actors: Iterable[Actor]) -> list[Actor]:
        """Those slaves that have begun to handle jobs and live."""
        pids = self.log.read().pids()
        return [actor for actor in actors if actor.running and actor.pid in pids]

    def await_working(self, actors: Iterable[Actor], count: int) -> None:
        """Wait until this many of those slaves are at work."""
        slaves = list(actors)
        self.until(lambda: len(self.working(slaves)) >= count, f"{count} slaves are at work")

    def await_slaves(self, actors: Iterable[Actor]) -> None:
        """Wait until all their slaves are at work: one that comes just as the master ends would wait for the next."""
        keepers = [actor for actor in actors if actor.command in ("slave", "spawn") and actor.running]
        wanted = sum(actor.slaves or 1 for actor in keepers)
        self.until(lambda: self._master_is_gone() or len(set(self.slaves()) & self.log.read().pids()) >= wanted,
                   f"{wanted} slaves are at work")

    def _master_is_gone(self) -> bool:
        return not any(actor.is_master and actor.running for actor in self.actors)
