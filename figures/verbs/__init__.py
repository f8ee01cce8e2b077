"""The verbs of the command line: each gathers its arguments, calls the room that does the work, and shows what came out."""
