"""When a budget of calls is used up: an interval from what was used on earlier days, and how likely it is. Pure.

`demand` says how many calls are to be expected. `outlook` says what a limit comes to with them. `record` keeps what was used and what was forecast.
"""
