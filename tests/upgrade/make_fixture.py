"""Writes a database with a given server program, and what that program says about it.

Usage: python3 make_fixture.py PROGRAM NAME    (writes NAME.db and NAME.json beside this file)

The database holds every kind of row that a server can leave behind when it is killed: accounts (an operator, a locked one, one with
a revoked sign-in), conversations with complete, failed, cancelled and interrupted turns, a turn that still runs, documents, and
operators' actions. The JSON file holds the answers of the same program, restarted on a copy, so that a test can compare what a
later version says after its migrations.
"""

import base64
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

PROGRAM, NAME = str(Path(sys.argv[1]).resolve()), sys.argv[2]
HERE = Path(__file__).resolve().parent
# Not a secret: it signs the tokens of accounts that exist only in this file.
JWT_SECRET = "the secret of a database that is a test fixture"
PASSWORD = "correct horse battery staple"
# The year 2100: no test may fail because time passes.
LATER_MS = 4_102_444_800_000


class Server:
    def __init__(self, folder):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self.env = {
            "PATH": os.environ["PATH"],
            "SWITCHBOARD__SERVER__PORT": str(port),
            "SWITCHBOARD__DATA_DIR": folder,
            "SWITCHBOARD__DATABASE__URL": f"sqlite://{folder}/switchboard.db",
            "SWITCHBOARD__AUTH__JWT_SECRET": JWT_SECRET,
            "SWITCHBOARD__PROVIDER__KIND": "scripted",
        }
        self.folder = folder
        self.process = subprocess.Popen(
            [PROGRAM], env=self.env, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        for _ in range(200):
            try:
                urllib.request.urlopen(self.url + "/health", timeout=1)
                return
            except OSError:
                time.sleep(0.05)
        sys.exit("the server did not start")

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def run(self, *arguments):
        subprocess.run([PROGRAM, *arguments], env=self.env, cwd=self.folder, check=True, stdout=subprocess.DEVNULL)

    def call(self, method, path, body=None, token=None, headers=None):
        headers = {"Content-Type": "application/json"} | (headers or {})
        if token:
            headers["Authorization"] = "Bearer " + token
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                text = response.read()
        except urllib.error.HTTPError as error:
            text = error.read()
        return json.loads(text) if text else None

    def register(self, email, name):
        return self.call("POST", "/api/v1/auth/register", {"email": email, "password": PASSWORD, "name": name})

    def sign_in(self, email):
        return self.call("POST", "/api/v1/auth/login", {"email": email, "password": PASSWORD})

    def ask(self, token, message, script, **fields):
        body = {"message": message, "metadata": {"script": {"interval_ms": 0} | script}} | fields
        return self.call("POST", "/api/v1/chat", body, token)

    def ask_in_background(self, token, message, script, **fields):
        """The first event of a turn that goes on while nobody reads it."""
        body = json.dumps({"message": message, "metadata": {"script": script}} | fields).encode()
        headers = {
            "Content-Type": "application/json",
            "Accept": "text/event-stream",
            "Authorization": "Bearer " + token,
        }
        response = urllib.request.urlopen(urllib.request.Request(self.url + "/api/v1/chat", body, headers), timeout=30)
        for line in response:
            if line.startswith(b"data:"):
                return json.loads(line[5:]), response
        raise RuntimeError("the answer ended without an event")

    def upload(self, token, name, text):
        disposition = f'Content-Disposition: form-data; name="file"; filename="{name}"'
        body = f"--B\r\n{disposition}\r\nContent-Type: text/plain\r\n\r\n{text}\r\n--B--\r\n".encode()
        return self.call("POST", "/api/v1/documents", body, token, {"Content-Type": "multipart/form-data; boundary=B"})


def fill(server):
    operator = server.register("operator@example.org", "Olga Operator")
    server.run("user", "set-role", "operator@example.org", "operator")
    operator = server.sign_in("operator@example.org")
    ada, grace = server.register("ada@example.org", "Ada"), server.register("grace@example.org", "Grace “Amazing” Ω")
    server.register("locked@example.org", "Lock")
    leaver = server.register("leaver@example.org", "Lee")

    first = server.ask(
        ada["access_token"],
        "What is the engine power?",
        {"tokens": 12},
        customer_id="customer-7",
        client_message_id="m-1",
    )
    conversation = first["session_id"]
    server.ask(
        ada["access_token"],
        "And the torque? 😀",
        {"tokens": 400, "token_bytes": 7},
        session_id=conversation,
        client_message_id="m-2",
    )
    server.ask(ada["access_token"], "This one fails.", {"tokens": 9, "fail_after": 4}, session_id=conversation)
    server.ask(ada["access_token"], "This one fails at once.", {"tokens": 9, "fail_after": 0}, session_id=conversation)
    server.ask(ada["access_token"], "This one says nothing.", {"tokens": 0}, session_id=conversation)
    stopped, stream = server.ask_in_background(
        ada["access_token"], "Stop this one.", {"tokens": 900, "interval_ms": 20}, session_id=conversation
    )
    time.sleep(1)
    server.call("POST", f"/api/v1/turns/{stopped['turn_id']}/cancel", {}, operator["access_token"])
    stream.read()
    server.ask(ada["access_token"], "Still there?", {"tokens": 3}, session_id=conversation)
    for n in range(3):
        server.ask(grace["access_token"], f"Conversation {n}", {"tokens": 5})

    server.upload(
        operator["access_token"], "bridge.txt", "The Tamsel bridge carries forty tonnes. Its rails are painted green."
    )
    server.upload(
        operator["access_token"],
        "garden.md",
        "# Garden\n\nRoses want sun.\n\n## Water\n\nWater them in the evening, at Sinead O'Brannigan's word.",
    )
    server.call("POST", f"/api/v1/users/{leaver['user']['id']}/kick", {"reason": "A fixture"}, operator["access_token"])
    server.call("POST", "/api/v1/notices", {"text": "Hello, everybody."}, operator["access_token"])
    server.run("user", "lock", "locked@example.org")
    signed_out = server.sign_in("ada@example.org")
    server.call(
        "POST", "/api/v1/auth/logout", {"refresh_token": signed_out["refresh_token"]}, signed_out["access_token"]
    )
    kept = server.sign_in("ada@example.org")

    # Interrupted: the server is killed, and the next one ends the turn. It goes on with a turn that is running in the end.
    server.ask_in_background(
        ada["access_token"], "Killed in the middle.", {"tokens": 5000, "interval_ms": 5}, session_id=conversation
    )
    time.sleep(1.5)
    server.kill()
    server = Server(server.folder)
    token = server.sign_in("grace@example.org")["access_token"]
    running, _ = server.ask_in_background(
        token, "Running in the end.", {"tokens": 5000, "interval_ms": 5}, client_message_id="m-9"
    )
    time.sleep(1.5)
    server.kill()
    payload = kept["refresh_token"].split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return {name: claims[name] for name in ("sub", "family", "jti")}, running["turn_id"]


def account_of(server, email):
    token = server.sign_in(email)["access_token"]
    conversations = server.call("GET", "/api/v1/conversations?limit=100", token=token)
    items = next(value for value in conversations.values() if isinstance(value, list))
    for item in items:
        key = "session_id" if "session_id" in item else "id"
        item["messages"] = server.call("GET", f"/api/v1/conversations/{item[key]}/messages?limit=200", token=token)
    return {"me": server.call("GET", "/api/v1/auth/me", token=token), "conversations": conversations}


def ask_what_it_says(server):
    token = server.sign_in("operator@example.org")["access_token"]
    users = subprocess.run(
        [PROGRAM, "user", "list"], env=server.env, cwd=server.folder, check=True, capture_output=True, text=True
    )
    return {
        "accounts": {email: account_of(server, email) for email in ("ada@example.org", "grace@example.org")},
        "locked": server.sign_in("locked@example.org")["code"],
        "documents": server.call("GET", "/api/v1/documents", token=token),
        "audit": server.call("GET", "/api/v1/audit?limit=100", token=token),
        "users": users.stdout.splitlines(),
    }


folder, copy = tempfile.mkdtemp(), tempfile.mkdtemp()
refresh_claims, running = fill(Server(folder))
target = HERE / f"{NAME}.db"
target.unlink(missing_ok=True)
source = sqlite3.connect(folder + "/switchboard.db")
source.execute("UPDATE refresh_families SET expires_at_ms = ?", (LATER_MS,))
source.commit()
source.execute("PRAGMA wal_checkpoint(TRUNCATE)")
source.close()
shutil.copy(folder + "/switchboard.db", target)
shutil.copy(target, copy + "/switchboard.db")
server = Server(copy)
said = ask_what_it_says(server) | {"jwt_secret": JWT_SECRET, "refresh_claims": refresh_claims, "running_turn": running}
server.kill()
with (HERE / f"{NAME}.json").open("w") as file:
    json.dump(said, file, indent=1, ensure_ascii=False)
    file.write("\n")
shutil.rmtree(folder)
shutil.rmtree(copy)
