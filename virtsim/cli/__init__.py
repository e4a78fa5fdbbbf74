"""The command line: each command reads its arguments, calls the library, and prints.

May import everything. Start reading at :mod:`virtsim.cli.main`; the commands are one file each, and import
what they need when they are called, so that ``virtsim --help`` is quick.
"""
