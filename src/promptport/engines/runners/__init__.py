"""Programs that run an engine, each in a process of its own.

The folder is run by the interpreter that has the engine (`python FOLDER MODULE`), which need not
have promptport: nothing here imports it. A request comes as JSON on standard input, the answer goes
as JSON to standard output.
"""
