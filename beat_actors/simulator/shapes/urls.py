"""Media URLs: long, signed and soon expired, as the recorded ones are."""

from beat_actors.simulator.population import Person, Post
from beat_actors.simulator.provider import World

EDGES = ("fra3-1", "fra5-2", "lhr8-1", "ams2-1", "cdg4-2", "mxp1-1", "iad3-2")
"""Each observation names another edge for the same picture, as the recorded ones do."""


def avatar(world: World, person: Person, size: int = 320) -> str:
    return _signed(world, person.digest, f"v/t51.2885-19/s{size}x{size}", "jpg")


def picture(world: World, post: Post, size: int = 1080, child: int = 0) -> str:
    return _signed(world, post.digest, f"v/t51.2885-15/e35/s{size}x{size}/c{child}", "jpg")


def video(world: World, post: Post) -> str:
    efg = f"&efg=eyJ2{post.digest}{post.digest[:40]}&_nc_vs=HBksFQ{post.digest[10:]}{post.digest}&_nc_rid={post.digest[:10]}"
    return _signed(world, post.digest, "o1/v/t16/f1/m86", "mp4", efg)


def _signed(world: World, digest: str, folder: str, suffix: str, more: str = "") -> str:
    expiry = world.people.media_expiry
    number = int(digest[:14], 16)
    host = f"scontent-{EDGES[(number + world.people.epoch) % len(EDGES)]}.cdninstagram.com"
    return (
        f"{world.cdn or 'https://' + host}/{folder}/{number % 10**9}_{number}_{number * 7 % 10**19}_n.{suffix}"
        f"?stp=dst-{suffix}_e35&_nc_ht={host}&_nc_cat={number % 899 + 100}&_nc_ohc={digest[:22]}"
        f"&edm=AOQ1c0wBAAAA&ccb=7-5&oh=00_{digest[20:56]}&oe={expiry:08X}&_nc_sid={digest[8:14]}{more}"
    )
