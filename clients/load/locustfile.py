"""Locust: locust -f locustfile.py --headless -u 50 -r 25 -t 20s --host http://127.0.0.1:8000

Each user is one WebSocket that asks one question after the other. In Locust's table `first token` and `turn` are times in
milliseconds; an answer that is not what the server wrote, by seq and SHA-256, is a failure.
SWITCHBOARD_LOAD_SCRIPT is the answer's script, as JSON, for a server with provider.kind = "scripted".
"""

import hashlib
import json
import logging
import os
import time
import uuid

import gevent
import websocket
from locust import User, between, events, task
from locust.exception import StopUser

SCRIPT = json.loads(os.environ.get("SWITCHBOARD_LOAD_SCRIPT", '{"tokens": 20, "interval_ms": 50}'))
accounts: list[str] = []


@events.test_start.add_listener
def sign_in(environment, **_):
    """A few accounts for all users: a password hash costs the server more than a turn."""
    import requests

    accounts.clear()
    for _ in range(2):
        body = {"name": "Load", "email": f"{uuid.uuid4()}@example.org", "password": uuid.uuid4().hex}
        try:
            response = requests.post(f"{environment.host}/api/v1/auth/register", json=body, timeout=60)
            if response.status_code != 201:
                raise ValueError(f"{response.status_code} {response.text}")
            accounts.append(response.json()["access_token"])
        except (requests.RequestException, ValueError) as error:
            logging.error("cannot register an account at %s: %s", environment.host, error)
            environment.process_exit_code = 1
            environment.runner.quit()
            return


class ChatUser(User):
    wait_time = between(0.1, 0.5)

    def on_start(self):
        if not accounts:
            raise StopUser()
        started = time.perf_counter()
        token = accounts[id(self) // 64 % len(accounts)]
        url = self.host.replace("http", "ws", 1) + "/ws/chat"
        try:
            self.ws = websocket.create_connection(
                url, subprotocols=["chat.v2"], header=[f"Authorization: Bearer {token}"], timeout=60
            )
            frame = json.loads(self.ws.recv())
            assert frame["type"] == "auth_success", frame
        except Exception as error:
            self.report("connect", started, error=error)
            raise StopUser() from error
        self.report("connect", started)

    def on_stop(self):
        self.ws.close()

    @task
    def ask(self):
        started = time.perf_counter()
        text, next_seq, size = "", 0, 0
        message = {
            "type": "message",
            "message": "How does this hold under load?",
            "client_message_id": uuid.uuid4().hex,
            "metadata": {"script": SCRIPT},
        }
        self.ws.send(json.dumps(message))
        while True:
            received = self.ws.recv()
            size += len(received)
            frame = json.loads(received)
            if frame["type"] == "token":
                if next_seq == 0:
                    self.report("first token", started)
                assert frame.get("first_seq", frame["seq"]) == next_seq, "a gap"
                text += frame["token"]
                next_seq = frame["seq"] + 1
            elif frame["type"] == "complete":
                is_whole = text == frame["response"] and hashlib.sha256(text.encode()).hexdigest() == frame["sha256"]
                self.report("turn", started, size, None if is_whole else ValueError("not what was written"))
                return
            elif frame["type"] == "error":
                self.report("turn", started, size, ValueError(frame["code"]))
                gevent.sleep(frame.get("retry_after_ms", 0) / 1000)
                return

    def report(self, name, started, size=0, error=None):
        milliseconds = (time.perf_counter() - started) * 1000
        self.environment.events.request.fire(
            request_type="WS", name=name, response_time=milliseconds, response_length=size, exception=error, context={}
        )
