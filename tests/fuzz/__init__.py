"""Every reader of files against files that were made wrong.

``python -m tests.fuzz --reader npz --count 100000 --seed 0`` makes so many inputs out of a few whole files: bytes are
changed, cut, repeated and put in from other files, numbers in headers become other numbers, and where a format has a
checksum it is made right again, so that what lies behind it is reached. Each input must be read or refused by the
library's own error, in a short message of one line, in less than a second of processor time, and with at most ten times
its size and 16 MB of memory. ``--atheris`` lets atheris choose the inputs, by the code they reach.
"""
