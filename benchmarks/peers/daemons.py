"""supervisord, circus and pm2: one daemon that holds the pipes of all programs. Settings are their defaults; logs are
never rotated, and a program waits for its start.
"""

import http.client
import json
import shlex
import socket
import subprocess
import xmlrpc.client

from benchmarks.peers.base import Supervisor
from tests.waiting import wait_until

UP_S = 60.0
COMMAND_S = 180.0
CIRCUS_CLIENT = """
import json, sys
from circus.client import CircusClient
client = CircusClient(endpoint=sys.argv[1], timeout=60)
for command, *name in json.load(sys.stdin):
    client.call({"command": command, "properties": {"waiting": True, **({"name": name[0]} if name else {})}})
"""


class Supervisord(Supervisor):
    name = "supervisord"

    def configure(self) -> None:
        text = f"""[unix_http_server]
file={self.directory}/socket
[supervisord]
nodaemon=true
minfds=8192
logfile={self.directory}/daemon.log
logfile_maxbytes=0
pidfile={self.directory}/pid
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
"""
        for name, words in self.programs.items():
            text += f"""[program:{name}]
command={shlex.join(words)}
autostart=false
redirect_stderr=true
stdout_logfile={self.log(name)}
stdout_logfile_maxbytes=0
"""
        (self.directory / "conf").write_text(text)

    def run(self) -> None:
        self.popen(f"{self.tools.python}/supervisord", "-c", f"{self.directory}/conf")
        wait_until(self._is_there, UP_S, "supervisord")

    def _is_there(self) -> bool:
        try:
            self._call("supervisor.getState")
        except OSError:
            return False
        return True

    def start(self) -> None:
        """By its own interface: its command would add the start of a Python."""
        self._call("supervisor.startAllProcesses", False)

    def _call(self, method: str, *arguments: bool) -> None:
        connection = http.client.HTTPConnection("localhost", timeout=COMMAND_S)
        connection.sock = socket.socket(socket.AF_UNIX)
        with connection.sock:
            connection.sock.settimeout(COMMAND_S)
            connection.sock.connect(str(self.directory / "socket"))
            connection.request("POST", "/RPC2", xmlrpc.client.dumps(arguments, method), {"Content-Type": "text/xml"})
            xmlrpc.client.loads(connection.getresponse().read())


class Circus(Supervisor):
    name = "circus"

    def configure(self) -> None:
        text = f"""[circus]
endpoint = ipc://{self.directory}/endpoint
pubsub_endpoint = ipc://{self.directory}/pubsub
"""
        for name, words in self.programs.items():
            text += f"""[watcher:{name}]
cmd = {shlex.join(words)}
autostart = False
copy_env = True
stdout_stream.class = FileStream
stdout_stream.filename = {self.log(name)}
"""
        (self.directory / "conf").write_text(text)

    def run(self) -> None:
        (self.directory / "endpoint").unlink(missing_ok=True)
        self.popen(f"{self.tools.python}/circusd", f"{self.directory}/conf")
        wait_until((self.directory / "endpoint").exists, UP_S, "circus")
        self._client(("list",))

    def start(self) -> None:
        self._client(*(("start", name) for name in self.programs))

    def _client(self, *commands: tuple[str, ...]) -> None:
        """By its own client: its command starts one program at a time."""
        command = [f"{self.tools.python}/python", "-c", CIRCUS_CLIENT, f"ipc://{self.directory}/endpoint"]
        subprocess.run(
            command, input=json.dumps(commands).encode(), check=True, capture_output=True, timeout=COMMAND_S
        )  # fmt: skip


class Pm2(Supervisor):
    name = "pm2"

    def configure(self) -> None:
        apps = [
            {
                "name": name,
                "script": words[0],
                "args": list(words[1:]),
                "interpreter": "none",
                "exec_mode": "fork",
                "out_file": str(self.log(name)),
                "error_file": "/dev/null",
                "merge_logs": True,
            }
            for name, words in self.programs.items()
        ]
        (self.directory / "apps.json").write_text(json.dumps({"apps": apps}))

    def run(self) -> None:
        self._control("ping")

    def start(self) -> None:
        self._control("start", str(self.directory / "apps.json"))

    def _control(self, *words: str) -> None:
        env = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(self.directory), "PM2_HOME": str(self.directory)}
        command = ["node", str(self.tools.pm2), "--silent", *words]
        subprocess.run(
            command, env=env, check=True, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL, timeout=COMMAND_S
        )
