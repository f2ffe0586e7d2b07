"""The web API in Airflow's API server: 50 people read, 50 streams are open; what Airflow's own routes feel."""

from __future__ import annotations

import asyncio
import json

from scripts.demo import Api, free_ports

from benchmarks.airflow_ import running, wait
from benchmarks.bench import Bench
from benchmarks.crowd import Line as Person
from benchmarks.crowd import Times, alternately, crowd
from benchmarks.outcome import Line, Outcome, Target
from benchmarks.pipelines import write_json

PEOPLE, RATE, CONFIGS = 50, 100, 100
API = "/dataforge/api/v1"
OURS = (
    f"{API}/pipelines", f"{API}/pipelines/pipeline_00001", f"{API}/components", f"{API}/pipelines",
    f"{API}/configs/pipeline_00002.json", f"{API}/configs/pipeline_00002.json/revisions",
)  # fmt: skip
"""What the page asks for when someone looks around."""
AIRFLOWS = "/api/v2/dags?limit=100"
COUNTED = {
    "AIRFLOW__DATAFORGE__WEB_REQUESTS": "1000000", "AIRFLOW__DATAFORGE__WEB_GENERATES": "1000",
    "AIRFLOW__DATAFORGE__LLM_CHAIN": "silent/none", "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "True",
}  # fmt: skip
"""Requests are counted as ever, with limits that nobody reaches."""


def run(bench: Bench) -> Outcome:
    """Start Airflow over many configs; measure one at a time, then the crowd, then Airflow's own route beside it."""
    folder, dags = bench.folder("web-configs", empty=True), bench.folder("no-dags", empty=True)
    write_json(folder, CONFIGS)
    names = [f"user{number}" for number in range(PEOPLE)]
    users = ",".join(["admin:admin", *(f"{name}:user" for name in names)])
    model = free_ports(1)[0]
    silent = json.dumps({"conn_type": "ollama", "host": "127.0.0.1", "port": model})
    settings = {**COUNTED, "AIRFLOW_CONN_SILENT": silent, "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": users}
    with running(bench, folder, dags, **settings) as (api, _):
        wait(lambda: int(api.get("/api/v2/dags?limit=1")["total_entries"]) >= CONFIGS, 300, 1)
        return asyncio.run(measured(bench, api, tokens(bench, api, names), model))


def tokens(bench: Bench, api: Api, names: list[str]) -> list[str]:
    """Log everybody in."""
    passwords = json.loads((bench.folder("airflow-real") / "passwords.json").read_text(encoding="utf-8"))
    return [
        str(api.post("/auth/token", {"username": name, "password": passwords[name]})["access_token"]) for name in names
    ]


async def measured(bench: Bench, api: Api, known: list[str], model: int) -> Outcome:
    """Return the figures."""
    port = int(api.base.rpartition(":")[2])
    people, prober = [Person(port, token) for token in known], Person(port, known[0])
    seconds, turns = (5.0, 10) if bench.quick else (30.0, 50)
    await crowd(people, OURS, 25, 4)  # imports, caches, connections
    alone = await alternately([lambda: prober.ask(OURS[0]), lambda: prober.ask(AIRFLOWS)], turns)
    quiet = await probed(prober, seconds)
    reading, beside = await asyncio.gather(crowd(people, OURS, RATE, seconds), probed(prober, seconds))
    bench.tell(f"reading: p95 {reading.at(0.95):.0f} ms")
    streams, silent = await streaming(port, known, model)
    await asyncio.sleep(1)
    held, under = await asyncio.gather(crowd(people, OURS, RATE, seconds), probed(prober, seconds))
    only = await probed(prober, seconds)
    open_ = sum(not each.at_eof() for _, each in streams)
    for line, _ in streams:
        line.close()
    silent.close()
    rows = {
        "our list of 100, one at a time": alone[0], "Airflow's list of 100, one at a time": alone[1],
        "50 people read ours, 100/s": reading, "the same, 50 streams open": held,
        "Airflow's list, 5/s, nothing else": quiet, "Airflow's list, 5/s, 50 streams open": only,
        "Airflow's list, 5/s, 50 people read ours": beside, "Airflow's list, 5/s, both": under,
    }  # fmt: skip
    targets = (
        Target("50 people at 100/s, p95", reading.at(0.95), "<=", 100, "ms"),
        Target("50 people at 100/s with 50 streams open, p95", held.at(0.95), "<=", 100, "ms"),
        Target("our list ÷ Airflow's own, median", alone[0].at(0.5) / alone[1].at(0.5), "<=", 1),
        Target("Airflow's list, median, with 50 streams ÷ without", only.at(0.5) / quiet.at(0.5), "<=", 1.1),
        Target("streams that stayed open", open_, ">=", PEOPLE),
        Target("answers other than 200", sum(each.failures for each in rows.values()), "<=", 0),
    )
    note = (
        "One API server process on SQLite, with the client, the scheduler and the DAG processor on the same cores; "
        "times count from the moment that a request was due."
    )
    return Outcome(
        "web", f"{CONFIGS} configs, {PEOPLE} people → the web API in Airflow's API server",
        tuple(shown(name, times) for name, times in rows.items()), targets, (note,),
    )  # fmt: skip


def shown(name: str, times: Times) -> Line:
    """Return the table line of some answers."""
    return Line(name, {"p50 ms": times.at(0.5), "p95 ms": times.at(0.95), "p99 ms": times.at(0.99),
                       "answers": len(times.seconds)})  # fmt: skip


async def probed(prober: Person, seconds: float) -> Times:
    """Ask for Airflow's own list now and then, as its page does."""
    return await crowd([prober], [AIRFLOWS], 5, seconds)


async def streaming(
    port: int, known: list[str], model: int
) -> tuple[list[tuple[Person, asyncio.StreamReader]], asyncio.Server]:
    """Begin a job for everybody, whose model never answers, and listen to it."""
    silent = await asyncio.start_server(lambda *_: asyncio.sleep(3600), "127.0.0.1", model)
    found = []
    for token in known:
        line = Person(port, token)
        body = json.dumps({"kind": "generate", "request": "a nice table of whatever is there", "mode": "ask"}).encode()
        _, told = await line.ask(f"{API}/jobs", "POST", body)
        found.append((line, await line.begin(f"{API}/jobs/{json.loads(told)['id']}/events")))
    return found, silent
