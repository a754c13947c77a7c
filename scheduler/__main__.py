"""`python -m scheduler`"""

import sys

from beat_actors.stopping import stop_at_once

if __name__ == "__main__":
    stop_at_once()
    from scheduler.daemon import main

    sys.exit(main())
