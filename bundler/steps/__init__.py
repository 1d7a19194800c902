"""One module a verb: a pure plan and a dull loop that runs it."""
