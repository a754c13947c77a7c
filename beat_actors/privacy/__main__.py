"""`python -m beat_actors.privacy` prints the table of docs/privacy.md."""

from beat_actors.privacy.places import table

if __name__ == "__main__":
    print(table())
