"""The newest revision, by the names of files, is the head of the migrations."""

from beat_actors.database import migrate, revisions


def test_the_newest_revision_is_the_head_of_the_migrations() -> None:
    assert revisions.newest() == migrate.head()
