"""The upstream: ready-made bodies behind nginx, which costs next to nothing; without nginx on PATH, the simulator.

A body is what Lama's `/a2/user` answers: a web-shaped profile with 12 posts. Captions are cut, so that it has 27 kB.
"""

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from beat_actors.local.account import unprivileged
from beat_actors.local.home import Home
from beat_actors.local.service import Service, answers_http
from beat_actors.simulator.population import Population
from beat_actors.simulator.provider import World, reply
from beat_actors.simulator.shapes.lama import web_user

CAPTION = 360
"""Characters of a caption that are kept."""
CONFIGURATION = """
daemon off; pid {place}/nginx.pid; error_log {place}/error.log; worker_processes 1; {user}
events {{ worker_connections 1024; }}
http {{
    access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000; default_type application/json;
    open_file_cache max=20000 inactive=1h;
    client_body_temp_path {place}/body; proxy_temp_path {place}/proxy; fastcgi_temp_path {place}/fastcgi;
    uwsgi_temp_path {place}/uwsgi; scgi_temp_path {place}/scgi;
    server {{
        listen 127.0.0.1:{port} backlog=1024;
        root {place}/bodies;
        location = / {{ return 204; }}
        location = /lama/a2/user {{ try_files /$arg_username.json =404; }}
    }}
}}
"""


@dataclass(frozen=True)
class Simulated:
    """The simulated providers' server, without limits; its bodies are cached, and have the whole captions (39 kB)."""

    port: int
    profiles: int
    name = "simulator (nginx is not on PATH), 39 kB a body"

    def service(self) -> Service:
        options = (
            "--no-limits",
            "--drift-seconds",
            "0",
            "--missing-every",
            "0",
            "--private-every",
            "0",
            "--cache-mb",
            "1000",
        )
        what = ("-m", "beat_actors.simulator", "--port", str(self.port), "--profiles", str(self.profiles), *options)
        return Service(name="simulator", argv=(sys.executable, *what), ready=lambda: answers_http(self.port))


@dataclass(frozen=True)
class Nginx:
    """Static files, one for each profile."""

    place: Path
    port: int
    name = "nginx, 27 kB a body"

    @classmethod
    def at(cls, home: Home, profiles: int, change: Callable[[bytes], bytes] | None = None) -> "Nginx":
        """`change` makes other bodies of them; a home has one server for each change."""
        account, server_name = unprivileged(), f"nginx-{change.__name__}" if change else "nginx"
        place = home.place_for(account) / server_name
        (place / "bodies").mkdir(parents=True)
        for folder in (place, place / "bodies"):
            folder.chmod(0o755)
        for number, body in enumerate(bodies(profiles)):
            (place / "bodies" / f"{Population(profiles).handle(number)}.json").write_bytes(
                change(body) if change else body
            )
        server = cls(place, home.port(server_name))
        # Started as root, nginx gives its worker to another; that one must be able to read the bodies.
        user = "user nobody nogroup;" if os.geteuid() == 0 else ""
        (place / "nginx.conf").write_text(CONFIGURATION.format(place=place, port=server.port, user=user))
        return server

    def service(self) -> Service:
        argv = (
            "nginx",
            "-c",
            str(self.place / "nginx.conf"),
            "-p",
            str(self.place),
            "-e",
            str(self.place / "error.log"),
        )
        return Service(name=self.place.name, argv=argv, ready=lambda: answers_http(self.port))


def upstream(home: Home, profiles: int) -> Nginx | Simulated:
    """The best that this machine has; `profiles` of them answer."""
    return Nginx.at(home, profiles) if shutil.which("nginx") else Simulated(home.port("simulator"), profiles)


def bodies(profiles: int) -> Iterator[bytes]:
    """The body of each profile, in order."""
    world = World(Population(profiles, missing_every=0, private_every=0, drift_seconds=0))
    for number in range(profiles):
        person = world.people.person(number)
        assert person is not None
        user = web_user(world, person)
        for edge in user["edge_owner_to_timeline_media"]["edges"]:
            text = edge["node"]["edge_media_to_caption"]["edges"][0]["node"]
            text["text"] = text["text"][:CAPTION]
        yield reply({"graphql": {"user": user}}).body
