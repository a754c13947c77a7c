"""Beat on one machine: real servers from wheels, a supervisor over them, and the stack that `beat up` runs.

Only the command line and the chaos harness import this package; in production the same variables point at other servers. Its modules are
imported by their own names: a command that looks for a running stack needs `home` and none of the servers' drivers.
"""
