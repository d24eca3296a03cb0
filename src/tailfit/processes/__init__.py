"""Processes that tailfit starts: messages in JSON through pipes, and no process that outlives the one that started it.

messages.py   one JSON object per line, and errors as such objects
child.py      a started process, as seen by the process that started it
parent.py     the process that started this one, as seen by the started process
"""

__all__: list[str] = []
