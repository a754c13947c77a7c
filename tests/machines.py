"""What machines of Hypothesis share that play the engine step by step, on a database of their own: its start and end, its messages, and how long it is played."""

import asyncio
import random
import uuid

import psycopg
from hypothesis import HealthCheck, Phase
from hypothesis import settings as hypothesis_settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

from beat_actors.credentials.manager import CredentialManager
from beat_actors.credentials.vault import Vault
from beat_actors.engine import Engine
from beat_actors.platforms.interface import Platform
from beat_actors.settings import Settings
from tests.conftest import MESSAGE_KEYS, VAULT_KEYS
from tests.databases import copy_database
from tests.moves import hold_moves
from tests.stalling import GatedDatabase, Stalled, outcome_of
from tests.worlds import MovableClock, Script, ScriptedClient, registered

FOLLOWING = {"retrieve": "ingest", "ingest": "process", "suspects": "process"}


class EngineMachine(RuleBasedStateMachine):
    """`forget`: the statement that empties what an example has written. `table`, `platform`: of the things that are collected."""

    url: str
    process_url: str
    clock: MovableClock
    forget: str
    table: str
    platform: Platform
    steps = 0

    def start(self, script: Script) -> None:
        """An engine whose sources answer by the script, over the emptied tables."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(self.forget)
            connection.execute("UPDATE travel.by SET seconds = 0")
        self.runner = asyncio.Runner()
        self.rng = random.Random(0)
        self.messages: list[tuple[str, list[int]]] = []
        self.stalled: list[Stalled] = []
        self.engine = self.runner.run(self._start(script))

    async def _start(self, script: Script) -> Engine:
        settings = Settings(
            database_url=self.process_url,
            redis_url="redis://unused",
            vault_keys=VAULT_KEYS,
            message_keys=MESSAGE_KEYS,
            broker_batch=8,
            broker_in_flight=16,
        )
        database, vault = GatedDatabase(settings, name="machine"), Vault(settings)
        return Engine(settings, database, vault, CredentialManager(database, vault), ScriptedClient(script))

    def rows(self, sql, *params):
        async def ask():
            async with self.engine.database.transaction() as transaction:
                return await transaction.rows(sql, params)

        return self.runner.run(ask())

    def _finished(self, ended):
        if ended is not None:
            stage, result = ended
            if stage in FOLLOWING:
                self._sent(FOLLOWING[stage], result.next)

    def _sent(self, stage, ids):
        if ids:
            self.messages.append((stage, list(ids)))

    def _drain(self):
        """End all that is open, and check what is left."""
        raise NotImplementedError  # each machine says when nothing is open; Hypothesis makes no machine of an abstract class

    def teardown(self):
        try:
            self._drain()
        finally:
            for worker in self.stalled:
                worker.task.cancel()
                self.runner.run(outcome_of(worker.task))
            self.runner.run(self.engine.close())
            self.runner.close()


def play(machine: type[EngineMachine], servers, template, *, steps: int, planned: int) -> None:
    """Play examples of `planned` steps until so many steps were possible."""
    name = f"machine_{uuid.uuid4().hex[:10]}"
    with psycopg.connect(servers.postgres.url_of("postgres"), autocommit=True) as admin:
        copy_database(admin, name, template)
    machine.url = servers.postgres.url_of(name)
    machine.process_url = servers.process_url(machine.url)
    with psycopg.connect(machine.url, autocommit=True) as connection:
        connection.execute(machine.table)
        hold_moves(connection)
    machine.clock = MovableClock(machine.url)
    machine.steps = 0
    try:
        with registered(machine.platform):
            while (left := steps - machine.steps) > 0:
                run_state_machine_as_test(
                    machine,
                    settings=hypothesis_settings(
                        max_examples=-(-left // planned),
                        stateful_step_count=planned,
                        deadline=None,
                        suppress_health_check=list(HealthCheck),
                        # To shrink a hundred steps takes longer than CI waits.
                        phases=(Phase.explicit, Phase.reuse, Phase.generate),
                    ),
                )
    finally:
        machine.clock.close()
        with psycopg.connect(servers.postgres.url_of("postgres"), autocommit=True) as admin:
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
