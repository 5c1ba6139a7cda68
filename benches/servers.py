"""The servers that are measured: how each is built, started on a free port of this machine, and ended.

Whatever happens, a server that was started here is ended here, and its files go with its folder.
"""

import contextlib
import ctypes
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PEERS = ROOT / "benches" / "peers"
# Everything is built and installed here, apart from the main build.
BUILT = ROOT / "target" / "peers"
SWITCHBOARD = ROOT / "target" / "release" / "switchboard"
FLOOR = "floor"
RUST_PEERS = (FLOOR, "actix", "axum", "fastwebsockets")
OTHER_PEERS = ("fastapi", "node")
# The relay job: the floor, and peers.
BARE_RELAY = "bare relay"
RELAY_PEERS = ("node relay", "fastapi relay")
# Installed and measured on request: benches/products.sh.
PRODUCTS = ("litellm", "chainlit")
# Another binary of Switchboard, in the same rounds.
BEFORE = "switchboard before"
# LiteLLM takes a while.
START_TIMEOUT_S = 90
# From <linux/prctl.h>.
PR_SET_PDEATHSIG = 1
STOP_TIMEOUT_S = 15


def build():
    """Switchboard and the peers in Rust."""
    cargo = [os.environ.get("CARGO", "cargo"), "build", "--release", "--locked"]
    for crate, target in ((ROOT, ROOT / "target"), (PEERS, BUILT)):
        subprocess.run(cargo, cwd=crate, env={**os.environ, "CARGO_TARGET_DIR": str(target)}, check=True)


def family(name):
    """The name of the packages that a server needs: for `node relay`, `node`."""
    return name.split()[0]


def install(families):
    """The peers in Python and Node: once, and again when what they need has changed. What could not be installed, and why."""
    missing = {}
    for name in sorted(families & {*OTHER_PEERS, *PRODUCTS}):
        try:
            install_node() if name == "node" else install_python(name)
        except (OSError, subprocess.SubprocessError) as error:
            missing[name] = str(error)
    return missing


def venv_of(name):
    return BUILT / f"venv-{name}"


def requirements_of(name):
    return PEERS / f"{name}.txt"


def is_installed(name):
    """Whether a peer in Python is installed, with the pinned versions."""
    return is_same(requirements_of(name), venv_of(name) / "installed.txt")


def install_python(name):
    venv, requirements = venv_of(name), requirements_of(name)
    if not is_installed(name):
        subprocess.run([sys.executable, "-m", "venv", "--clear", venv], check=True)
        pip = [
            venv / "bin" / "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--no-deps",
            "-r",
            requirements,
        ]
        subprocess.run(pip, check=True)
        shutil.copy(requirements, venv / "installed.txt")


def install_node():
    node, lock = BUILT / "node", PEERS / "package-lock.json"
    if not is_same(lock, node / "installed.json"):
        node.mkdir(parents=True, exist_ok=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(PEERS / name, node)
        subprocess.run(["npm", "ci", "--no-audit", "--no-fund", "--loglevel=error"], cwd=node, check=True)
        shutil.copy(lock, node / "installed.json")
    # Node looks for packages beside the file.
    for name in ("node_server.mjs", "node_relay.mjs"):
        shutil.copy(PEERS / name, node)


def is_same(one, other):
    return other.exists() and one.read_bytes() == other.read_bytes()


def end_with_parent():
    """In the child: the kernel ends it when whoever started it is gone, even one that was killed."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """A running server: `with Server("axum") as server: …`."""

    def __init__(self, name, arguments=(), settings=None, binary=SWITCHBOARD):
        self.name = name
        # More of the command line, of the environment, and the binary of Switchboard.
        self.arguments, self.settings, self.binary = arguments, settings or {}, binary
        self.is_switchboard = name in ("switchboard", BEFORE)
        self.port = free_port()
        self.url = f"ws://127.0.0.1:{self.port}"
        self.process = None
        # A peer takes any; LiteLLM compares it with its master key.
        self.token = f"sk-{secrets.token_hex(32)}"

    def command(self, folder):
        address = f"127.0.0.1:{self.port}"
        match self.name:
            case "switchboard" | "switchboard before":
                return [self.binary, "serve"], switchboard_settings(self.port, folder)
            case "fastapi" | "fastapi relay":
                module = "fastapi_relay" if self.name == "fastapi relay" else "fastapi_server"
                uvicorn = [venv_of("fastapi") / "bin" / "python", "-m", "uvicorn", f"{module}:app", "--app-dir", PEERS]
                return [*uvicorn, "--host", "127.0.0.1", "--port", self.port, "--log-level", "warning"], {}
            case "node" | "node relay":
                script = "node_relay.mjs" if self.name == "node relay" else "node_server.mjs"
                return ["node", BUILT / "node" / script, self.port], {}
            case "litellm":
                litellm = [venv_of("litellm") / "bin" / "litellm", "--config", PEERS / "litellm.yaml"]
                # Without the price list that it otherwise downloads at start.
                settings = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR"}
                settings["LITELLM_MASTER_KEY"] = self.token
                return [*litellm, "--host", "127.0.0.1", "--port", self.port, "--num_workers", 1], settings
            case "chainlit":
                chainlit = [venv_of("chainlit") / "bin" / "chainlit", "run", PEERS / "chainlit_app.py", "--headless"]
                return [*chainlit, "--host", "127.0.0.1", "--port", self.port], {"CHAINLIT_APP_ROOT": folder}
            case "bare relay":
                return [BUILT / "release" / "relay_bare", address], {}
            case name:
                return [BUILT / "release" / name, address], {}

    def __enter__(self):
        # On the disk of the project: /tmp may be memory. Only a build has made that folder, and the tests need none.
        BUILT.mkdir(parents=True, exist_ok=True)
        self.folder = tempfile.TemporaryDirectory(prefix="run-", dir=BUILT)
        self.log_path = Path(self.folder.name) / "log"
        try:
            command, settings = self.command(self.folder.name)
            command, settings = [*command, *self.arguments], {**settings, **self.settings}
            if self.is_switchboard:
                # By a process of its own: the memory of a password hash would be counted as there before the load.
                self.start(command, settings)
                self.token = self.register()
                self.stop()
            self.start(command, settings)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.stop()
        self.folder.cleanup()

    def start(self, command, settings):
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [str(word) for word in command],
                cwd=self.folder.name,
                env={**os.environ, **settings},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=end_with_parent,
                # A group of its own, with what it starts itself.
                start_new_session=True,
            )
        self.wait_until_it_listens()

    def stop(self):
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        finally:
            # Processes that it started and did not end.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)

    def register(self):
        """Makes an account; its access token."""
        account = {"email": f"{uuid.uuid4()}@example.org", "password": str(uuid.uuid4()), "name": "Load"}
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/api/v1/auth/register",
            json.dumps(account).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=START_TIMEOUT_S) as answer:
            return json.load(answer)["access_token"]

    def wait_until_it_listens(self):
        until = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < until:
            if self.process.poll() is not None:
                break
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                # Work right after it starts to listen is not measured.
                time.sleep(0.5)
                return
            except OSError:
                time.sleep(0.05)
        raise RuntimeError(f"{self.name} did not start:\n{self.log_path.read_text(errors='replace')[-2000:]}")

    def cpu_s(self):
        """User and system time of all its threads so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def switchboard_settings(port, folder):
    """The settings of production: everything is logged (to a file), counted and stored. Only the limits by address and by user
    are off, since all of the load comes from one."""
    section = {
        "ENV": "production",
        "DATA_DIR": f"{folder}/data",
        "SERVER__HOST": "127.0.0.1",
        "SERVER__PORT": str(port),
        "SERVER__WORKERS": "2",
        "SERVER__DRAIN_TIMEOUT_S": "2",
        "LOG__LEVEL": "info",
        "LOG__FORMAT": "json",
        "DATABASE__URL": f"sqlite://{folder}/switchboard.db",
        "AUTH__JWT_SECRET": secrets.token_hex(32),
        "LIMITS__EXEMPT_ADDRESSES": '["127.0.0.0/8"]',
        "LIMITS__LOGINS_PER_MINUTE_PER_ACCOUNT": "0",
        "WORKFLOW__MAX_RUNNING_TURNS_PER_USER": "0",
        "PROVIDER__KIND": "scripted",
    }
    return {f"SWITCHBOARD__{key}": value for key, value in section.items()}
