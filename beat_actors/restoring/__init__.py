"""What the log knows beyond the present state: entities as they were, what a bad deploy has changed, and how that is undone.

The state of an entity is the fold of its log: of each field, the value of the newest observation that tells it. `selection` says which
observations are wrong, `blast` whom they reached, `jobs` and `worker` set entities to the fold without them, and `undoing` takes that back.
`checking` compares entities with their fold, `keeping` keeps the fold of days that leave the log, `as_of` folds up to a time.
"""
