"""Forecasts: how many calls limits had in each ten minutes, and what was forecast of them.

Expands. Older processes write none of it.

Revision ID: 0074
"""

from alembic import op

revision = "0074"
down_revision = "0069"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
    -- `slot`: ten minutes, numbered from 1970 on. The latest slot that was looked at has a row, also without calls.
    CREATE TABLE limit_usage (
        name  text NOT NULL,
        slot  bigint NOT NULL,
        calls integer NOT NULL,
        PRIMARY KEY (name, slot)
    );

    -- `until`: the time that the forecast is about ends. `used_up_at`: when the limit was found used up, for the first time after `made_at`.
    CREATE TABLE limit_forecast (
        name        text NOT NULL,
        made_at     timestamptz NOT NULL,
        until       timestamptz NOT NULL,
        probability real NOT NULL,
        at          timestamptz,
        earliest    timestamptz,
        latest      timestamptz,
        warned      boolean NOT NULL,
        used_up_at  timestamptz,
        PRIMARY KEY (name, made_at)
    );
    """)


def downgrade() -> None:
    op.execute("DROP TABLE limit_forecast, limit_usage")
