"""What each source did for each operation in each week, as sums that processes add to.

Only added. Older processes add nothing, so a week of a rolling deployment has fewer calls than were made.

Revision ID: 0080
"""

from alembic import op

revision = "0080"
down_revision = "0079"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
    -- `week`: its Monday in UTC. `calls`: that were made; of them `good` were answered, `down` failed at the source, `refused` were refused, `absent` said
    -- that there is nothing, or nothing public. `read`: answers that the parser read, `malformed`: that it could not. `records`: that were read; `filled` of
    -- their `fillable` optional fields were filled. `ms`: of good calls, together; `times`: how many of them took up to 100, 200, 400, … ms.
    CREATE TABLE source_score (
        week      date NOT NULL,
        platform  text NOT NULL,
        source    text NOT NULL,
        operation text NOT NULL,
        calls     bigint NOT NULL DEFAULT 0,
        good      bigint NOT NULL DEFAULT 0,
        down      bigint NOT NULL DEFAULT 0,
        refused   bigint NOT NULL DEFAULT 0,
        absent    bigint NOT NULL DEFAULT 0,
        read      bigint NOT NULL DEFAULT 0,
        malformed bigint NOT NULL DEFAULT 0,
        records   bigint NOT NULL DEFAULT 0,
        filled    bigint NOT NULL DEFAULT 0,
        fillable  bigint NOT NULL DEFAULT 0,
        ms        double precision NOT NULL DEFAULT 0,
        times     bigint[] NOT NULL,
        PRIMARY KEY (week, platform, source, operation)
    ) WITH (fillfactor = 50);
    """)


def downgrade() -> None:
    op.execute("DROP TABLE source_score")
