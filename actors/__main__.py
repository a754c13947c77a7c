"""`python -m actors`"""

import sys

from actors.parent import main

if __name__ == "__main__":
    sys.exit(main())
