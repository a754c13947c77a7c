"""A sample of stored answers and of what was read of them, without personal data, so that a staging installation has data as production has it.

`anonymising` replaces words and ids (pure), `exporting` writes a file, `importing` fills an empty installation from it.
"""
