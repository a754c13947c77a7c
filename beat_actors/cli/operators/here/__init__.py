"""The groups of questions over the database and Redis: a class `Here` for each class `There` of the modules beside this folder."""

from beat_actors.cli.session import Session


class Here:
    def __init__(self, session: Session) -> None:
        self.session = session
