"""A model server that is away, and its breaker open: how soon a person who needs the model is told so."""

from __future__ import annotations

import asyncio
import json
import time

from scripts.demo import Api, free_ports

from benchmarks.airflow_ import running
from benchmarks.bench import Bench
from benchmarks.crowd import Line as Person
from benchmarks.crowd import Times
from benchmarks.measure import run as started
from benchmarks.outcome import Outcome, Target
from benchmarks.place import Contestant, program
from benchmarks.scenarios.web import API, shown, tokens

TURNS = 25
WORDS = "is resting until"
"""What the message says of the model; nothing else counts."""
REQUEST = "Bring parlour public.cones to depot ice.cones every night at 4, and tidy the flavours up a bit"
NAMES = {
    "author": "author, in a process that runs", "command": "dataforge author, beyond start-up",
    "job": "a job of the web API, to its last event",
}  # fmt: skip


def run(bench: Bench) -> Outcome:
    """Time calls in a process of our own, then jobs in Airflow's API server, each with its breaker seen to be open."""
    turns = 5 if bench.quick else TURNS
    folder, dags = bench.folder("breaker-configs", empty=True), bench.folder("no-dags", empty=True)
    away = json.dumps({"conn_type": "ollama", "host": "127.0.0.1", "port": free_ports(1)[0]})
    database = json.dumps({"conn_type": "postgres", "host": "db.example"})
    settings = {
        "AIRFLOW__DATAFORGE__CONFIGS_FOLDER": str(folder),
        "AIRFLOW__DATAFORGE__LLM_CHAIN": "away/none",
        "AIRFLOW__DATAFORGE__BREAKER_SECONDS": "3600",  # or a call now and then tries the server again
        "AIRFLOW__DATAFORGE__WEB_REQUESTS": "100000", "AIRFLOW__DATAFORGE__WEB_GENERATES": "1000",
        "AIRFLOW_CONN_AWAY": away, "AIRFLOW_CONN_PARLOUR": database, "AIRFLOW_CONN_DEPOT": database,
    }  # fmt: skip
    # a home of its own: a breaker that another run left open would be measured before it was seen to open
    environment = {**bench.our_environment, "AIRFLOW_HOME": str(bench.folder("breaker-home", empty=True)), **settings}
    ours = started(Contestant("ours", program("breaker_ours", str(turns)), environment)).json()
    found = {name: Times([each / 1000 for each in ours[name]]) for name in ("author", "command")}
    bench.tell(f"author: p95 {found['author'].at(0.95):.0f} ms")
    settings["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS"] = "admin:admin"
    with running(bench, folder, dags, **settings) as (api, _):
        found["job"] = asyncio.run(jobs(bench, api, turns * 4))
    note = (
        "Wall time from the call, or from a job's request, to the message. The draft of what could be read without a "
        "model, with its checks and questions, comes with it and is counted in."
    )
    return Outcome(
        "breaker", "a request that needs a model, whose server is away and whose breaker is open → the message",
        tuple(shown(NAMES[name], times) for name, times in found.items()),
        tuple(Target(f"{NAMES[name]}, p95", times.at(0.95), "<=", 100, "ms") for name, times in found.items()),
        (note,),
    )  # fmt: skip


async def jobs(bench: Bench, api: Api, count: int) -> Times:
    """Begin jobs one after the other, and follow each to its end."""
    (token,) = tokens(bench, api, ["admin"])
    person = Person(int(api.base.rpartition(":")[2]), token)
    times = Times()
    told = ""
    for _ in range(10):  # opens the breaker, and imports what a job needs
        told, _ = await job(person)
    if WORDS not in told:
        raise RuntimeError(f"the breaker is not open: {told[-300:]!r}")
    for _ in range(count):
        told, seconds = await job(person)
        times.seconds.append(seconds)
        times.failures += WORDS not in told
    person.close()
    if times.failures:
        raise RuntimeError(f"{times.failures} jobs ended with another message, the last one with {told[-300:]!r}")
    return times


async def job(person: Person) -> tuple[str, float]:
    """Return the events of one job, and the seconds from its request to its end."""
    body = json.dumps({"kind": "generate", "request": REQUEST}).encode()
    began = time.perf_counter()
    status, begun = await person.ask(f"{API}/jobs", "POST", body)
    if status != 202:
        raise RuntimeError(f"a job was answered by {status}: {begun[:300]!r}")
    _, events = await person.ask(f"{API}/jobs/{json.loads(begun)['id']}/events")
    return events.decode(), time.perf_counter() - began
