"""`python -m scheduler`"""

from scheduler.daemon import main

if __name__ == "__main__":
    main()
