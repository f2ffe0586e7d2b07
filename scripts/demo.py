"""Runs one example pipeline on a real Airflow and shows the loaded rows; the second half of scripts/demo."""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from email.message import Message
from pathlib import Path
from types import MappingProxyType
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
USER = PASSWORD = "admin"
COMPONENTS = ("api-server", "scheduler", "dag-processor", "triggerer")
START_SECONDS = 240
RUN_SECONDS = 240
STOP_SECONDS = 5
MAX_RESTARTS = 5
PREFERRED_PORT = 8080
MODEL = "smollm2:135m"
MODEL_CONNECTION = "demo_model"
MODEL_SECONDS = 120
WISH = (
    "Every morning at 7 load data/penguins.csv into the duckdb table heavy_penguins, replacing it, "
    "but only the chubby ones"
)
"""A request of which one part can't be read without a model."""
TOY = f"""\
{MODEL} is a toy for trying things out: it runs on any CPU, and much of what it adds is wrong or missing. What a request
says for certain is read without it, and every answer is checked. For work take a model of 1.5 billion parameters or
more: install Ollama (https://ollama.com), `ollama pull qwen2.5-coder:1.5b`, and run scripts/demo without --with-model;
Ollama on this machine is found by itself. A server elsewhere: an Airflow connection, named in [dataforge] llm_chain."""


class DemoError(Exception):
    """The demo can't go on; the text says why and where to look."""


@dataclass(frozen=True)
class Demo:
    """One Airflow of our own: its home folder, its address and its environment."""

    home: Path
    port: int
    environment: Mapping[str, str] = field(repr=False)
    has_model: bool = False
    ended: list[str] = field(default_factory=list, repr=False)
    """What components said that ended by themselves."""
    left: list[Any] = field(default_factory=list, repr=False)
    """The processes that such components left behind."""

    @property
    def url(self) -> str:
        """Where a browser finds it."""
        return f"http://localhost:{self.port}"

    @property
    def logs(self) -> Path:
        """The folder of the components' own logs."""
        return self.home / "logs" / "components"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; return 0 when rows were loaded, 1 when not."""
    parser = argparse.ArgumentParser(prog="scripts/demo", description=__doc__)
    parser.add_argument("--check", action="store_true", help="stop after the run; exit 0 only if rows were loaded")
    parser.add_argument("--with-model", action="store_true", help="serve a small real language model too (93 MB)")
    parser.add_argument("--dag", default="penguins", help="which example to run (default: penguins)")
    parser.add_argument("--port", type=int, help="port of Airflow's page (default: 8080, or a free one)")
    options = parser.parse_args(arguments)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    began = time.monotonic()
    try:
        with contextlib.ExitStack() as held:
            folder = held.enter_context(home(check=options.check))
            model = held.enter_context(language_model(folder)) if options.with_model else {}
            demo = held.enter_context(components(prepare(folder, options, model)))
            show(demo, options.dag, began)
            if demo.has_model and options.check:
                author(demo)
            if not options.check:
                stay(demo)
    except (DemoError, OSError) as error:
        print(f"\nThe demo failed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped." if not options.check else "\nInterrupted.")
        return 1 if options.check else 0
    return 0


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


@contextlib.contextmanager
def home(*, check: bool) -> Iterator[Path]:
    """Give Airflow's home: .airflow in the repository, for a check a new one, which stays if the check fails."""
    if check:
        folder = Path(tempfile.mkdtemp(prefix="dataforge-demo-"))
        try:
            yield folder
        except DemoError:
            print(f"All logs are kept in {folder}", file=sys.stderr)
            raise
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        shutil.rmtree(folder, ignore_errors=True)
        return
    folder = ROOT / ".airflow"
    folder.mkdir(exist_ok=True)
    with (folder / "demo.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise DemoError("another scripts/demo is running in this folder; stop it first (Ctrl-C there)") from None
        yield folder


@contextlib.contextmanager
def language_model(folder: Path) -> Iterator[dict[str, str]]:
    """Serve SmolLM2-135M behind Ollama's API while the demo runs; give the settings that make DataForge use it."""
    print("Fetching a small language model, SmolLM2-135M (93 MB, once)")
    engine = fetch_model()
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "tests.model_server", "--port", str(port)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(engine)]), "PYTHONUNBUFFERED": "1"}
    path = folder / "model.log"
    with path.open("w") as log:
        process = subprocess.Popen(
            [*command, "--model", f"{MODEL}={ROOT / '.models' / 'smollm2-135m.gguf'}"],
            env=environment, cwd=ROOT, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
    try:
        deadline = time.monotonic() + MODEL_SECONDS
        while not answers(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise DemoError(f"the model server did not start\n{tail(path)}")
            time.sleep(0.1)
        connection = {"conn_type": "ollama", "host": "127.0.0.1", "port": port, "extra": {"model": MODEL}}
        yield {
            f"AIRFLOW_CONN_{MODEL_CONNECTION.upper()}": json.dumps(connection),
            "AIRFLOW__DATAFORGE__LLM_CHAIN": f"{MODEL_CONNECTION}/{MODEL}",
        }
    finally:
        stop([process])


def fetch_model() -> Path:
    """Fetch the model and the engine that runs it, once; return the engine's folder."""
    if subprocess.run([ROOT / "scripts" / "model", sys.executable], cwd=ROOT, check=False).returncode:
        raise DemoError("the model can't be had now; without --with-model the demo needs none")
    block = engine_lock((ROOT / "requirements-dev.txt").read_text())
    engine = ROOT / ".models" / f"engine-{block[0].split(' ')[0]}-py{sys.version_info[0]}{sys.version_info[1]}"
    if engine.is_dir():
        return engine
    with tempfile.TemporaryDirectory(dir=ROOT / ".models") as made:
        lock = Path(made, "engine.txt")
        lock.write_text("\n".join([*block, ""]))
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        target = Path(made, "engine")
        done = subprocess.run([*command, "--require-hashes", "--target", target, "-r", lock], check=False)
        if done.returncode or not target.is_dir():
            raise DemoError(
                "llama.cpp's server can't be installed here (it is built for Linux on x86-64); install Ollama instead"
            )
        target.rename(engine)
    return engine


def engine_lock(text: str) -> list[str]:
    """Return the lines of a lock that name the model's engine with its hashes."""
    lines = text.splitlines()
    begin = next(index for index, line in enumerate(lines) if line.startswith("xllamacpp=="))
    end = next(index for index in range(begin, len(lines)) if not lines[index].endswith("\\"))
    return lines[begin : end + 1]


def author(demo: Demo) -> None:
    """Let the model take part in one config, without writing it; DemoError when what comes back is not right."""
    print(f"\nAsking {MODEL}: {WISH}")
    command = [sys.executable, "-m", "dataforge", "author", WISH, "--format", "json"]
    environment = {**demo.environment, "PYTHONPATH": str(ROOT / "plugins")}
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    try:
        told = json.loads(done.stdout)
    except ValueError:
        raise DemoError(f"dataforge author gave no answer\n{done.stderr[-2000:]}") from None
    config, models = told.get("config") or {}, [turn["model"] for turn in told.get("trace", ()) if turn["model"]]
    print(told.get("text", ""))
    for finding in told.get("findings", ()):
        print(f"{finding['severity']}[{finding['code']}] {finding['message']}")
    wanted = {"source": ("path", "data/penguins.csv"), "destination": ("table", "heavy_penguins")}
    missing = [part for part, (key, value) in wanted.items() if config.get(part, {}).get(key) != value]
    if not models or told["status"] != "valid" or missing or config.get("schedule") != "0 7 * * *":
        raise DemoError(f"authoring with the model failed: {told.get('status')}, {missing or 'no model took part'}")
    seconds = told["usage"]["seconds"]
    print(f"A valid config, with {models[0]}, {told['usage']['completion_tokens']} tokens in {seconds:.0f} s.\n{TOY}")


def prepare(folder: Path, options: argparse.Namespace, model: Mapping[str, str] = MappingProxyType({})) -> Demo:
    """Write the login, choose free ports, make the metadata database; `model` are the settings of a language model."""
    ports = free_ports(3)
    port = options.port or (PREFERRED_PORT if is_free(PREFERRED_PORT) else ports[0])
    if not is_free(port):
        raise DemoError(f"port {port} is taken; choose another one with --port")
    (folder / "passwords.json").write_text(json.dumps({USER: PASSWORD}))
    own = settings(folder, port, ports[1:], options.check) | dict(model)
    demo = Demo(folder, port, {**os.environ, **own}, bool(model))
    write_environment(folder / "environment", own)
    demo.logs.mkdir(parents=True, exist_ok=True)
    print("Preparing Airflow's database")
    with (demo.logs / "db-migrate.log").open("w") as log:
        command = [sys.executable, "-m", "airflow", "db", "migrate"]
        if subprocess.run(command, env=demo.environment, cwd=folder, stdout=log, stderr=log, check=False).returncode:
            raise DemoError(f"airflow db migrate failed\n{tail(demo.logs / 'db-migrate.log')}")
    return demo


def write_environment(path: Path, own: Mapping[str, str]) -> None:
    """Write the settings as a file for `. .airflow/environment`, so that a shell's `airflow` talks to this Airflow."""
    path.touch(mode=0o600)
    lines = [f"export {name}={shlex.quote(value)}" for name, value in own.items()]
    path.write_text("\n".join([*lines, f'export PATH={shlex.quote(str(Path(sys.executable).parent))}:"$PATH"', ""]))


def keep_secrets(folder: Path) -> dict[str, str]:
    """Return the secrets of this Airflow, made once and kept, so that logins outlive a restart."""
    path = folder / "secrets.json"
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(json.dumps({name: secrets.token_urlsafe(48) for name in ("jwt", "session")}))
    made: dict[str, str] = json.loads(path.read_text())
    return made


def settings(folder: Path, port: int, other_ports: Sequence[int], paused: bool) -> dict[str, str]:
    """Return the environment of a small Airflow that shows a changed config within about two seconds."""
    made = keep_secrets(folder)
    bundles = [
        {"name": "dags-folder", "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle", "kwargs": {}},
        {"name": "pipelines", "classpath": "dataforge.bundle.ConfigBundle", "kwargs": {"refresh_interval": 1}},
    ]
    values: dict[str, dict[str, object]] = {
        "core": {
            "dags_folder": ROOT / "dags",
            "plugins_folder": ROOT / "plugins",
            "load_examples": False,
            "executor": "LocalExecutor",
            "parallelism": 4,
            "dags_are_paused_at_creation": paused,
            "min_serialized_dag_update_interval": 0,
            "test_connection": "Enabled",
            "execution_api_server_url": f"http://127.0.0.1:{port}/execution/",
            "simple_auth_manager_users": f"{USER}:admin",
            "simple_auth_manager_passwords_file": folder / "passwords.json",
        },
        "database": {"sql_alchemy_conn": f"sqlite:///{folder}/airflow.db?timeout=60"},
        "api": {
            "host": "127.0.0.1",
            "port": port,
            "secret_key": made["session"],
            "base_url": f"http://localhost:{port}",
        },
        "api_auth": {"jwt_secret": made["jwt"]},
        "logging": {
            "base_log_folder": folder / "logs",
            "worker_log_server_port": other_ports[0],
            "trigger_log_server_port": other_ports[1],
        },
        "scheduler": {"scheduler_idle_sleep_time": 0.1, "parsing_cleanup_interval": 2},
        "dag_processor": {
            "bundle_refresh_check_interval": 1,
            "min_file_process_interval": 300,
            "stale_dag_threshold": 2,
            "parsing_processes": 2,
            "dag_bundle_storage_path": folder / "bundles",
            "dag_bundle_config_list": json.dumps(bundles),
        },
        "dataforge": {"configs_folder": ROOT / "configs", "output_folder": folder / "output"},
    }
    return {"AIRFLOW_HOME": str(folder), "PYTHONUNBUFFERED": "1", "NO_PROXY": "*", "no_proxy": "*"} | {
        f"AIRFLOW__{section.upper()}__{option.upper()}": str(value)
        for section, options in values.items()
        for option, value in options.items()
    }


@contextlib.contextmanager
def components(demo: Demo) -> Iterator[Demo]:
    """Start Airflow's components, wait until all are healthy, stop them and all their children in the end.

    One that ends in between is started again, as every deployment does: Airflow 3.3's scheduler ends when a run's row
    goes while it looks at it. What it said last is in `demo.ended`.
    """
    print(f"Starting Airflow (logs in {demo.logs})")
    processes: dict[str, subprocess.Popen[bytes]] = {}
    over = threading.Event()
    keeper = threading.Thread(target=keep_running, args=(demo, processes, over), daemon=True)
    try:
        for name in COMPONENTS:
            (demo.logs / f"{name}.log").unlink(missing_ok=True)
            processes[name] = start(demo, name)
        wait_healthy(demo, processes)
        keeper.start()
        yield demo
    finally:
        over.set()
        if keeper.ident is not None:
            keeper.join()
        stop(processes.values(), demo.left)


def start(demo: Demo, name: str) -> subprocess.Popen[bytes]:
    """Start one component; its log goes on where an earlier one ended."""
    with (demo.logs / f"{name}.log").open("a") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "airflow", name],
            env=demo.environment, cwd=demo.home, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip


def keep_running(demo: Demo, processes: dict[str, subprocess.Popen[bytes]], over: threading.Event) -> None:
    """Start components that end by themselves again, until it is over or one has ended too often."""
    while not over.wait(1) and len(demo.ended) < MAX_RESTARTS:
        for name, process in processes.items():
            if process.poll() is not None:
                demo.ended.append(f"airflow {name} ended by itself\n{tail(demo.logs / f'{name}.log', 200)}")
                demo.left.extend(session(process.pid))
                print(f"airflow {name} ended by itself; it is started again (see {demo.logs / f'{name}.log'})")
                processes[name] = start(demo, name)


def session(leader: int) -> list[Any]:
    """Return the processes of a session, whether or not the one that began it still lives."""
    import psutil  # type: ignore[import-untyped]

    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if os.getsid(process.pid) == leader:
                found.append(process)
    return found


def stop(processes: Iterable[subprocess.Popen[bytes]], left: Iterable[Any] = ()) -> None:
    """End the processes and all they started (a task has a process group of its own): asked first, then killed.

    `left` are processes that others left behind.
    """
    import psutil

    family: dict[int, psutil.Process] = {each.pid: each for each in left}
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C must not leave children behind
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            head = psutil.Process(process.pid)
            family |= {each.pid: each for each in (head, *head.children(recursive=True))}
    for process in family.values():
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    _, alive = psutil.wait_procs(family.values(), timeout=STOP_SECONDS)
    for process in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(alive, timeout=STOP_SECONDS)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def wait_healthy(demo: Demo, processes: Mapping[str, subprocess.Popen[bytes]]) -> None:
    """Return when every component reports health; DemoError with the end of its log when one ends instead."""
    deadline = time.monotonic() + START_SECONDS
    parts = ("metadatabase", "scheduler", "dag_processor", "triggerer")
    health: dict[str, Any] = {}
    while time.monotonic() < deadline:
        for name, process in processes.items():
            if process.poll() is not None:
                raise DemoError(f"airflow {name} ended by itself\n{tail(demo.logs / f'{name}.log')}")
        with contextlib.suppress(OSError, ValueError):
            health = Api(demo).get("/api/v2/monitor/health")
            if all((health.get(part) or {}).get("status") == "healthy" for part in parts):
                Api(demo).get("/execution/health")  # warms up the part that tasks talk to
                return
        time.sleep(0.5)
    missing = [part for part in parts if (health.get(part) or {}).get("status") != "healthy"]
    raise DemoError(
        f"Airflow was not healthy after {START_SECONDS} s (waiting for {', '.join(missing)}); see {demo.logs}"
    )


class Busy(urllib.error.HTTPError):
    """Airflow answered 500 or above, as it does when SQLite is too busy for a moment."""


class Api:
    """Airflow's REST API, by the standard library alone."""

    def __init__(self, demo: Demo, seconds: float = 60) -> None:
        self.base = f"http://127.0.0.1:{demo.port}"
        self.seconds = seconds
        self.headers = {"Content-Type": "application/json"}

    def login(self) -> Api:
        """Log in as the demo's user."""
        token = self.post("/auth/token", {"username": USER, "password": PASSWORD})["access_token"]
        self.headers["Authorization"] = f"Bearer {token}"
        return self

    def get(self, path: str) -> Any:
        """Return the JSON answer of a GET."""
        return self._send("GET", path, None)

    def post(self, path: str, body: Any) -> Any:
        """Return the JSON answer of a POST."""
        return self._send("POST", path, json.dumps(body).encode())

    def patch(self, path: str, body: Any) -> Any:
        """Return the JSON answer of a PATCH."""
        return self._send("PATCH", path, json.dumps(body).encode())

    def _send(self, method: str, path: str, body: bytes | None) -> Any:
        request = urllib.request.Request(self.base + path, body, self.headers, method=method)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        for patience in (1, 2, 4, 8):
            with contextlib.suppress(Busy):
                return self._once(opener, request)
            time.sleep(patience)
        return self._once(opener, request)

    def _once(self, opener: urllib.request.OpenerDirector, request: urllib.request.Request) -> Any:
        try:
            with opener.open(request, timeout=self.seconds) as answer:
                return json.loads(answer.read() or b"null")
        except TimeoutError:  # on a busy machine SQLite's lock can be held as long as Airflow waits for it
            raise Busy(request.full_url, 504, f"no answer within {self.seconds} seconds", Message(), None) from None
        except urllib.error.HTTPError as error:
            if error.code >= 500:
                raise Busy(request.full_url, error.code, error.reason, error.headers, None) from None
            raise


def show(demo: Demo, dag_id: str, began: float) -> None:
    """Trigger the pipeline, wait for it, print where it wrote and its first rows."""
    api = Api(demo).login()
    wait_dag(api, demo, dag_id)
    print(f"Airflow is up after {time.monotonic() - began:.0f} s. Running the pipeline {dag_id!r}")
    run = f"demo__{time.time():.0f}"
    try:
        api.post(f"/api/v2/dags/{dag_id}/dagRuns", {"dag_run_id": run, "logical_date": None, "conf": {}})
    except urllib.error.HTTPError as error:
        if error.code != 409:  # asked for again after an answer that did not come, though it was done
            raise
    deadline = time.monotonic() + RUN_SECONDS
    state = "queued"
    while state not in ("success", "failed") and time.monotonic() < deadline:
        time.sleep(0.2)
        state = api.get(f"/api/v2/dags/{dag_id}/dagRuns/{run}")["state"]
    if state != "success":
        raise DemoError(f"the run ended as {state!r}\n{failed_log(api, dag_id, run)}")
    config = json.loads((ROOT / "configs" / f"{dag_id}.json").read_text())
    print_rows(demo, config["destination"])
    print(f"\nDone in {time.monotonic() - began:.0f} s.")


def wait_dag(api: Api, demo: Demo, dag_id: str) -> None:
    """Return when Airflow knows the DAG; DemoError with its import error when it has one."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        try:
            if not (found := api.get(f"/api/v2/dags/{dag_id}"))["is_stale"]:
                if found["is_paused"]:
                    api.patch(f"/api/v2/dags/{dag_id}", {"is_paused": False})
                return
        except urllib.error.HTTPError as error:
            if error.code != 404:
                raise DemoError(f"Airflow answered {error.code} when asked for the DAG {dag_id!r}") from None
        for broken in api.get("/api/v2/importErrors")["import_errors"]:
            if broken["filename"] == f"{dag_id}.json.py":
                raise DemoError(f"Airflow can't use the config of {dag_id!r}: {import_error(broken['stack_trace'])}")
        time.sleep(0.3)
    raise DemoError(f"Airflow doesn't know a DAG {dag_id!r}; see {demo.logs / 'dag-processor.log'}")


def import_error(trace: str) -> str:
    """Return what an import error says, without the stack that Airflow shows above it."""
    return trace.partition("InvalidConfigError: ")[2].strip() or trace.strip().splitlines()[-1]


def failed_log(api: Api, dag_id: str, run: str) -> str:
    """Return the last lines of the first failed task's log."""
    tasks = api.get(f"/api/v2/dags/{dag_id}/dagRuns/{run}/taskInstances")["task_instances"]
    for task in tasks:
        if task["state"] in ("failed", "up_for_retry"):
            path = f"/api/v2/dags/{dag_id}/dagRuns/{run}/taskInstances/{task['task_id']}/logs/{task['try_number']}"
            lines = api.get(f"{path}?full_content=true").get("content", [])
            texts = [line.get("event", "") if isinstance(line, dict) else str(line) for line in lines]
            return f"task {task['task_id']}:\n" + "\n".join(texts[-12:])
    return ", ".join(f"{task['task_id']}: {task['state']}" for task in tasks)


def print_rows(demo: Demo, destination: Mapping[str, Any]) -> None:
    """Print the number of loaded rows and the first ten; DemoError when there are none."""
    import duckdb

    output = demo.home / "output"
    if destination["type"] != "duckdb":
        print(f"Written below {output}")
        return
    file = output / destination.get("database", "warehouse.duckdb")
    table = ".".join('"' + part.replace('"', '""') + '"' for part in destination["table"].split("."))
    with duckdb.connect(str(file), read_only=True) as con:
        count = con.execute(f"SELECT count(*) FROM {table}").fetchall()[0][0]
        found = con.execute(f"SELECT * FROM {table} LIMIT 10")
        header = [column[0] for column in found.description or ()]
        rows = [["" if value is None else str(value) for value in row] for row in found.fetchall()]
    if not count:
        raise DemoError(f"the run succeeded, but the table {destination['table']} is empty")
    print(f"\n{count} rows in table {destination['table']} of {file}\n")
    widths = [max(len(row[index]) for row in [header, *rows]) for index in range(len(header))]
    for row in [header, ["-" * width for width in widths], *rows]:
        print("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())


def stay(demo: Demo) -> None:
    """Say where Airflow is and wait until someone stops the demo."""
    print(f"\nAirflow: {demo.url}    user {USER}    password {PASSWORD}")
    print(
        f"In a shell of its own: . {os.path.relpath(demo.home / 'environment')}   then airflow dags list, dataforge …"
    )
    if demo.has_model:
        print(f'There, try: dataforge author "{WISH}"   or dataforge chat, dataforge models, dataforge usage\n{TOY}')
    else:
        print(
            'There, try: dataforge author "…" (with Ollama, or scripts/demo --with-model for a small model of its own)'
        )
    print(f"Drop a JSON config into {ROOT / 'configs'}: its DAG appears within seconds. Stop with Ctrl-C.")
    while True:
        time.sleep(3600)


def answers(port: int) -> bool:
    """Whether something on this machine takes connections there."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def is_free(port: int) -> bool:
    """Whether nothing listens on that port of this machine."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def free_ports(count: int) -> list[int]:
    """Return that many different ports that are free now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def tail(path: Path, lines: int = 15) -> str:
    """Return the last lines of a log."""
    return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])


if __name__ == "__main__":
    sys.exit(main())
